package structs

import "fmt"

// MessageType is the first byte of a raft entry and of a snapshot record. It
// says how the msgpack value after it is to be read.
type MessageType uint8

// The numbers are on disk and in Consul's snapshots: they are never reused.
const (
	RegisterRequestType        MessageType = 0
	DeregisterRequestType      MessageType = 1
	KVSRequestType             MessageType = 2
	SessionRequestType         MessageType = 3
	TombstoneRequestType       MessageType = 5
	CoordinateBatchUpdateType  MessageType = 6
	PreparedQueryRequestType   MessageType = 7
	TxnRequestType             MessageType = 8
	AutopilotRequestType       MessageType = 9
	IndexType                  MessageType = 16
	ChunkingStateType          MessageType = 29
	SystemMetadataRequestType  MessageType = 31
	firstEnterpriseMessageType MessageType = 64

	// IgnoreUnknownTypeFlag is set on the type byte of a raft entry that a
	// server which does not know the type may skip.
	IgnoreUnknownTypeFlag MessageType = 128

	// VerifyStateType is ours. Consul counts upwards from 0 and skips what has
	// the flag, as every version of ours does that does not know the type.
	VerifyStateType = 63 | IgnoreUnknownTypeFlag
)

// messageNames are the names that tools print; Consul's where Consul has one.
var messageNames = map[MessageType]string{
	0: "Register", 1: "Deregister", 2: "KVS", 3: "Session", 4: "ACL (Deprecated)",
	5: "Tombstone", 6: "CoordinateBatchUpdate", 7: "PreparedQuery", 8: "Txn", 9: "Autopilot",
	10: "Area", 11: "ACLBootstrap", 12: "Intention", 13: "ConnectCA", 14: "ConnectCAProviderState",
	15: "ConnectCAConfig", 16: "Index", 17: "ACLToken", 18: "ACLTokenDelete", 19: "ACLPolicy",
	20: "ACLPolicyDelete", 21: "ConnectCALeaf", 22: "ConfigEntry", 23: "ACLRole", 24: "ACLRoleDelete",
	25: "ACLBindingRule", 26: "ACLBindingRuleDelete", 27: "ACLAuthMethod", 28: "ACLAuthMethodDelete",
	29: "ChunkingState", 30: "FederationState", 31: "SystemMetadata", 32: "ServiceVirtualIP",
	33: "FreeVirtualIP", 34: "KindServiceNames", 35: "PeeringWrite", 36: "PeeringDelete",
	37: "PeeringTerminateByID", 38: "PeeringTrustBundleWrite", 39: "PeeringTrustBundleDelete",
	40: "PeeringSecretsWrite", 41: "RaftLogVerifierCheckpoint", 42: "ResourceOperation", 43: "UpdateVirtualIP",
	63: "VerifyState", VerifyStateType: "VerifyState", // without the flag, and with it
}

// String names the type for people; an unknown one shows its number.
func (t MessageType) String() string {
	if name, ok := messageNames[t]; ok {
		return name
	}
	return fmt.Sprintf("Unknown(%d)", uint8(t))
}

// Enterprise reports whether the type belongs to Consul Enterprise, whose
// records Praetor refuses before anything changes.
func (t MessageType) Enterprise() bool {
	return t >= firstEnterpriseMessageType
}

// Command is a change to the state that is written to the raft log. What it
// does may depend on its own fields and the state alone: everything that must
// be decided once (ids, times, random numbers) is decided before it is logged.
type Command interface {
	Type() MessageType
}

// EncodeCommand returns a raft log entry: the type byte, then the command as
// one msgpack map.
//
//	+------+---------------------+
//	| type | msgpack map ...     |
//	+------+---------------------+
//
// The slice is of exactly its length: it lives on in the raft log cache.
func EncodeCommand(c Command) ([]byte, error) {
	m, err := marshal(c)
	if err != nil {
		return nil, err
	}
	entry := make([]byte, 1+len(m.buf))
	entry[0] = byte(c.Type())
	copy(entry[1:], m.buf)
	m.release()
	return entry, nil
}
