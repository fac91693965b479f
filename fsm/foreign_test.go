package fsm_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"praetor/fsm"
	"praetor/structs"
)

// A Consul of 1.8 knows fewer keys than we do: it has no peers, no localities, no
// newer checks. Its records are restored all the same, and what it has no key
// for is empty.
func TestRecordsWithFewerKeys(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	node := m{"Datacenter": "dc1", "ID": "11111111-2222-3333-4444-555555555555", "Node": "n", "Address": "10.0.0.1",
		"TaggedAddresses": m{"lan": "10.0.0.1"}, "NodeMeta": m{"rack": "1"}, "Service": nil, "Check": nil, "Checks": nil,
		"SkipNodeUpdate": false, "Token": "", "CreateIndex": 5, "ModifyIndex": 6}
	service, ofCheck := maps.Clone(node), maps.Clone(node)
	service["Service"] = m{"Kind": "", "ID": "web1", "Service": "web", "Tags": []string{"v1"}, "Address": "", "Meta": m{"k": "v"}, "Port": 80,
		"Weights": m{"Passing": 1, "Warning": 1}, "EnableTagOverride": false, "Proxy": m{"Config": nil, "Upstreams": nil},
		"Connect": m{"Native": false}, "LocallyRegisteredAsSidecar": false, "CreateIndex": 7, "ModifyIndex": 7}
	ofCheck["Check"] = m{"Node": "n", "CheckID": "alive", "Name": "alive", "Status": "passing", "Notes": "", "Output": "ok", "ServiceID": "web1",
		"ServiceName": "web", "ServiceTags": []string{"v1"}, "Definition": m{"HTTP": "http://x", "Interval": 10 * time.Second, "TLSSkipVerify": true},
		"CreateIndex": 8, "ModifyIndex": 8}
	stream := encode(t, 20,
		typed{structs.RegisterRequestType, node}, typed{structs.RegisterRequestType, service}, typed{structs.RegisterRequestType, ofCheck},
		typed{structs.CoordinateBatchUpdateType, []m{{"Node": "n", "Segment": "", "Coord": m{"Vec": make([]float64, 8), "Error": 1.5, "Adjustment": 0.0, "Height": 0.1}}}},
		typed{structs.SessionRequestType, m{"ID": "s1", "Name": "lock", "Node": "n", "Checks": []string{"alive"}, "LockDelay": 15 * time.Second,
			"Behavior": "release", "TTL": "30s", "CreateIndex": 9, "ModifyIndex": 9}},
		typed{structs.MessageType(19), m{"ID": "p", "Rules": "key \"\" {}"}},
		typed{structs.KVSRequestType, m{"Key": "k", "Value": []byte("v"), "Flags": uint64(1) << 63, "LockIndex": 1, "Session": "s1", "CreateIndex": 10, "ModifyIndex": 11}},
		typed{structs.TombstoneRequestType, m{"Key": "gone", "ModifyIndex": 12}},
		typed{structs.PreparedQueryRequestType, m{"ID": "q", "Name": "near", "Session": "", "Token": "", "Template": m{"Type": "", "Regexp": ""},
			"Service": m{"Service": "web", "Failover": m{"NearestN": 1, "Datacenters": nil}, "OnlyPassing": true, "Near": "_agent", "Tags": nil, "NodeMeta": nil},
			"DNS":     m{"TTL": "10s"}, "CreateIndex": 13, "ModifyIndex": 13}},
		typed{structs.AutopilotRequestType, m{"CleanupDeadServers": true, "LastContactThreshold": 200 * time.Millisecond, "MaxTrailingLogs": 250,
			"ServerStabilizationTime": 10 * time.Second, "CreateIndex": 4, "ModifyIndex": 4}},
		typed{structs.IndexType, m{"Key": "kvs", "Value": 11}})
	if violations := check(t, stream, 20); violations != nil {
		t.Errorf("violations: %q", violations)
	}
	f := restore(t, stream)
	r := f.Store().Read()
	if n := r.Node("N"); n == nil || n.CreateIndex != 5 || n.ModifyIndex != 6 || n.Meta["rack"] != "1" || n.PeerName != "" || n.Locality != nil {
		t.Errorf("node: %+v", n)
	}
	if rows := r.CheckServiceNodes("web"); len(rows) != 1 || rows[0].Service.Port != 80 || rows[0].Service.ModifyIndex != 7 ||
		len(rows[0].Checks) != 1 || rows[0].Checks[0].Definition.Interval != 10*time.Second {
		t.Errorf("service: %+v", rows)
	}
	if e := r.KV("k"); e == nil || string(e.Value) != "v" || e.Flags != 1<<63 || e.Session != "s1" || e.CreateIndex != 10 || e.TTL != 0 {
		t.Errorf("key: %+v", e)
	}
	if index := r.TombstoneIndex(); index != 12 {
		t.Errorf("tombstone: index %d, want 12", index)
	}
	if s := r.Session("s1"); s == nil || s.TTL != "30s" || s.LockDelay != 15*time.Second || !slices.Equal(s.Checks, []string{"alive"}) || s.Expiry != "" {
		t.Errorf("session: %+v", s)
	}
	// The session hangs on the check that it names in the old way.
	w := f.Store().Write()
	w.Begin(21)
	if _, err := w.ApplyDeregister(&structs.DeregisterRequest{Node: "n", CheckID: "alive"}); err != nil {
		t.Fatal(err)
	}
	w.Commit()
	if e := f.Store().Read().KV("k"); f.Store().Read().Session("s1") != nil || e.Session != "" {
		t.Error("the check is gone, and the session that depends on it is still there")
	}
	kinds := census(t, stream)
	for kind := range census(t, snapshot(t, restore(t, stream))) {
		delete(kinds, kind)
	}
	if len(kinds) > 0 {
		t.Errorf("these types are not written back: %v", kinds)
	}
}

// Records of types that we do not serve come back to the byte, in Consul's place
// and in their order, through any number of snapshots.
func TestCarriedToTheByte(t *testing.T) {
	t.Parallel()
	f := fsm.New()
	for i, c := range samples {
		f.Apply(entry(t, uint64(i+1), c))
	}
	own := snapshot(t, f)
	var odd []byte // every type below 64 that we do not serve, with values in every form of msgpack
	values := [][]byte{{0xc0}, {0xa3, 'x', 'y', 'z'}, {0xc4, 1, 0xff}, {0xde, 0, 1, 0xa1, 'k', 0x93, 1, 2, 3}, {0xcb, 1, 2, 3, 4, 5, 6, 7, 8}, {0xd9, 1, 'a'}}
	served := map[structs.MessageType]bool{0: true, 2: true, 3: true, 5: true, 6: true, 7: true, 9: true, 16: true, 29: true, 31: true}
	want := map[structs.MessageType][]byte{}
	for kind := structs.MessageType(0); kind < 64; kind++ {
		if served[kind] {
			continue
		}
		for i := range 2 {
			value := values[(int(kind)+i)%len(values)]
			odd = append(append(odd, byte(kind)), value...)
			want[kind] = append(want[kind], value...)
		}
	}
	stream := slices.Concat(own, odd)
	for round := range 3 {
		stream = snapshot(t, restore(t, stream))
		got := map[structs.MessageType][]byte{}
		_, records := fsm.Records(bytes.NewReader(stream))
		for r, err := range records {
			if err != nil {
				t.Fatal(err)
			}
			if !served[r.Kind] {
				got[r.Kind] = append(got[r.Kind], r.Value...)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
	}
	var order []structs.MessageType
	_, records := fsm.Records(bytes.NewReader(stream))
	for r := range records {
		if len(order) == 0 || order[len(order)-1] != r.Kind {
			order = append(order, r.Kind)
		}
	}
	steps := []structs.MessageType{32, 33, 0, 6, 3, 17, 19, 23, 25, 27, 2, 5, 7, 9, 12, 13, 14, 15, 22, 30, 31, 16, 35, 38, 40, 42}
	if !slices.Equal(order[:len(steps)], steps) || order[len(order)-1] != structs.ChunkingStateType {
		t.Errorf("types come in the order %v, in Consul they begin with %v and end with 29", order, steps)
	}
}

// What only we have stands in keys that Consul has no field for: read with
// Consul's own fields, our stream says the same.
func TestConsulLooksPastOurExtras(t *testing.T) {
	t.Parallel()
	type raftIndex struct{ CreateIndex, ModifyIndex uint64 }
	type dirEntry struct {
		LockIndex uint64
		Key       string
		Flags     uint64
		Value     []byte
		Session   string
		raftIndex
	}
	type session struct {
		ID, Name, Node string
		LockDelay      time.Duration
		Behavior, TTL  string
		NodeChecks     []string
		ServiceChecks  []struct{ ID, Namespace string }
		Checks         []string
		raftIndex
	}
	type metadata struct {
		Key, Value string
		raftIndex
	}
	f := fsm.New()
	for i, c := range []structs.Command{
		&structs.RegisterRequest{Node: "n", Address: "10.0.0.1"},
		&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "ttl", Value: []byte("v"), Flags: 3, TTL: time.Minute}},
		&structs.SessionRequest{Op: structs.SessionCreate, Session: structs.Session{ID: "s", Node: "n", TTL: "10s", Expiry: structs.ExpiryExact, LockDelay: time.Second}},
		&structs.KVSRequest{Op: structs.KVLock, DirEnt: structs.DirEntry{Key: "delayed", Session: "s"}},
		&structs.KVSRequest{Op: structs.KVLock, DirEnt: structs.DirEntry{Key: "gone", Session: "s"}},
		&structs.KVSRequest{Op: structs.KVDelete, DirEnt: structs.DirEntry{Key: "gone"}},
		&structs.SessionRequest{Op: structs.SessionDestroy, Session: structs.Session{ID: "s"}},
		&structs.SessionRequest{Op: structs.SessionCreate, Session: structs.Session{ID: "t", Node: "n", TTL: "10s", Expiry: structs.ExpiryExact, LockDelay: time.Second}},
		&structs.MetadataRequest{Op: structs.MetadataUpsert, Entry: &structs.MetadataEntry{Key: "praetor-cluster-id", Value: "id"}},
	} {
		if err, failed := f.Apply(entry(t, uint64(i+1), c)).(error); failed {
			t.Fatal(err)
		}
	}
	stream := snapshot(t, f)
	extras := map[string]bool{}
	_, records := fsm.Records(bytes.NewReader(stream))
	var keys, tombstones []dirEntry
	var sessions []session
	var system []metadata
	decode := func(value []byte, into any) {
		t.Helper()
		if err := structs.DecodeValue(value, into); err != nil {
			t.Fatal(err)
		}
	}
	for r, err := range records {
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind >= 64 || structs.MessageType(r.Kind).String() == "" {
			t.Errorf("a record of type %d: Consul does not know it", r.Kind)
		}
		switch r.Kind {
		case structs.KVSRequestType:
			keys = append(keys, dirEntry{})
			decode(r.Value, &keys[len(keys)-1])
		case structs.TombstoneRequestType:
			tombstones = append(tombstones, dirEntry{})
			decode(r.Value, &tombstones[len(tombstones)-1])
		case structs.SessionRequestType:
			sessions = append(sessions, session{})
			decode(r.Value, &sessions[len(sessions)-1])
		case structs.SystemMetadataRequestType:
			system = append(system, metadata{})
			decode(r.Value, &system[len(system)-1])
		}
		var all any
		decode(r.Value, &all)
		if fields, ok := all.(map[string]any); ok {
			for name := range fields {
				extras[name] = true
			}
		}
	}
	for _, name := range []string{"TTLIndex", "LockDelayIndex", "Expiry"} {
		if !extras[name] {
			t.Errorf("the stream has no %s: this test sees nothing", name)
		}
	}
	options := cmp.AllowUnexported(dirEntry{}, session{}, metadata{})
	same := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got, options); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	same("keys", keys, []dirEntry{
		{Key: "delayed", LockIndex: 1, raftIndex: raftIndex{4, 7}},
		{Key: "ttl", Value: []byte("v"), Flags: 3, raftIndex: raftIndex{2, 2}},
	})
	if len(tombstones) != 1 || tombstones[0].Key != "gone" || tombstones[0].ModifyIndex != 6 {
		t.Errorf("tombstones: %+v", tombstones)
	}
	same("sessions", sessions, []session{{ID: "t", Node: "n", LockDelay: time.Second, TTL: "10s", raftIndex: raftIndex{8, 8}}})
	same("system metadata", system, []metadata{{Key: "praetor-cluster-id", Value: "id", raftIndex: raftIndex{9, 9}}})
}
