package structs

import "time"

// BackupRecord is what is known of one backup. It lies beside it, as JSON.
type BackupRecord struct {
	Name      string // without prefix and ending
	Index     uint64 // raft index that it was taken at
	Time      time.Time
	Took      Duration // to write and to verify
	Size      int64    // bytes of the archive, before it was sealed
	SHA256    string   // of the archive, before it was sealed
	StateHash string   // SHA-256 of the state's snapshot stream
	ClusterID string
	Server    string // node name of the leader that took it
	Version   string // of Praetor
	Encrypted bool
	Verified  bool   // it was read back, and restored to a state with this hash
	Error     string `json:",omitempty"` // what is wrong with it
}

// Good reports whether it can be restored, as far as anybody knows.
func (r *BackupRecord) Good() bool { return r.Verified && r.Error == "" }

// BackupStatus is how the backups of a cluster are doing, as its leader sees it.
type BackupStatus struct {
	Leader    string // node name
	Target    string
	Schedule  string
	Encrypted bool

	Running   bool
	Started   uint64    // number of the last attempt that has begun since this server started
	Finished  uint64    // number of the last one that is over
	Succeeded uint64    // number of the last one that ended well
	Next      time.Time `json:",omitzero"` // when the next one begins

	Backups int           // good ones at the target
	Last    *BackupRecord // newest of them; nil if there is none

	Log *LogArchiveStatus `json:",omitempty"` // nil: the log is not archived

	Failures      int // in a row; 0 when all is well
	LastError     string
	LastErrorTime time.Time `json:",omitzero"`
}

// BackupStatusReply is the reply to Operator.BackupStatus.
type BackupStatusReply struct {
	Status BackupStatus
	QueryMeta
}

// BackupStarted is the reply to Operator.BackupRun.
type BackupStarted struct {
	Leader  string // node name
	Attempt uint64 // BackupStatus.Finished reaches it when the backup is over
}
