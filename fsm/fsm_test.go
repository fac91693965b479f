package fsm_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-raftchunking/types"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/serf/coordinate"
	"google.golang.org/protobuf/proto"

	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/state"
	"praetor/structs"
)

// samples has a command of every type, in an order in which each does something.
var samples = []structs.Command{
	&structs.RegisterRequest{
		Node: "n1", ID: "11111111-2222-3333-4444-555555555555", Address: "10.0.0.1", NodeMeta: map[string]string{"a": "b"},
		Locality: &structs.Locality{Region: "r", Zone: "z"},
		Service: &structs.NodeService{ID: "web1", Service: "web", Tags: []string{"v1"}, Port: 80, Proxy: structs.ServiceProxy{
			Config: structs.Opaque{"a": int64(1), "b": []any{"c"}}, Upstreams: []structs.Opaque{{"DestinationName": "db"}},
		}},
		Checks: []*structs.HealthCheck{
			{Node: "n1", CheckID: "alive", Status: structs.HealthPassing},
			{Node: "n1", CheckID: "web", ServiceID: "web1", Definition: structs.HealthCheckDefinition{HTTP: "http://x", Interval: 5}},
		},
	},
	&structs.RegisterRequest{Node: "n2", Address: "10.0.0.2", Service: &structs.NodeService{ID: "db", Service: "db"}},
	&structs.DeregisterRequest{Node: "n2", ServiceID: "db"},
	&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "a", Value: []byte("1"), Flags: 7}},
	&structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "b/c", Value: []byte("2")}},
	&structs.KVSRequest{Op: structs.KVDelete, DirEnt: structs.DirEntry{Key: "a"}},
	&structs.SessionRequest{Op: structs.SessionCreate, Session: structs.Session{ID: "s", Node: "n1", Expiry: structs.ExpiryExact, TTL: "10s"}},
	&structs.KVSRequest{Op: structs.KVLock, DirEnt: structs.DirEntry{Key: "locked", Session: "s", TTL: time.Minute}},
	&structs.SessionRequest{Op: structs.SessionCreate, Session: structs.Session{ID: "t", Node: "n1", Behavior: structs.SessionDelete, LockDelay: time.Second}},
	&structs.KVSRequest{Op: structs.KVLock, DirEnt: structs.DirEntry{Key: "gone", Session: "t"}},
	&structs.SessionRequest{Op: structs.SessionDestroy, Session: structs.Session{ID: "t"}},
	&structs.TombstoneRequest{Op: structs.TombstoneReap, ReapIndex: 1},
	&structs.TxnRequest{Ops: []structs.TxnOp{
		{KV: &structs.TxnKVOp{Verb: structs.KVSet, DirEnt: structs.DirEntry{Key: "t", Value: []byte("3")}}},
		{KV: &structs.TxnKVOp{Verb: structs.KVGet, DirEnt: structs.DirEntry{Key: "t"}}},
	}},
	&structs.CoordinateBatch{{Node: "n1", Coord: coordinate.NewCoordinate(coordinate.DefaultConfig())}},
	&structs.PreparedQueryRequest{Op: structs.PreparedQueryCreate, Query: &structs.PreparedQuery{
		ID: "q", Name: "geo-", Session: "s", Template: structs.QueryTemplate{Type: structs.QueryTemplateNamePrefix},
		Service: structs.ServiceQuery{
			Service: "${name.suffix}", Tags: []string{"a"}, NodeMeta: map[string]string{"b": "c"},
			Failover: structs.QueryFailover{Targets: []structs.QueryTarget{{Datacenter: "dc2"}}},
		},
	}},
	&structs.AutopilotRequest{Config: structs.AutopilotConfig{CleanupDeadServers: true, MaxTrailingLogs: 250}},
	&structs.MetadataRequest{Op: structs.MetadataUpsert, Entry: &structs.MetadataEntry{Key: "k", Value: "v"}},
	&structs.VerifyRequest{},
}

func entry(t testing.TB, index uint64, c structs.Command) *raft.Log {
	t.Helper()
	data, err := structs.EncodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	return &raft.Log{Index: index, Term: 1, Data: data}
}

// split is entry, cut into parts as go-raftchunking cuts it; the last has index.
func split(t testing.TB, index, term, op uint64, parts int, c structs.Command) []*raft.Log {
	t.Helper()
	whole := entry(t, 0, c).Data
	size := (len(whole) + parts - 1) / parts
	var logs []*raft.Log
	for i := range parts {
		mark, err := proto.Marshal(&types.ChunkInfo{OpNum: op, SequenceNum: uint32(i), NumChunks: uint32(parts)})
		if err != nil {
			t.Fatal(err)
		}
		data := whole[i*size : min((i+1)*size, len(whole))]
		logs = append(logs, &raft.Log{Index: index - uint64(parts-1-i), Term: term, Data: data, Extensions: mark})
	}
	return logs
}

func stream(t testing.TB, v fsm.View) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := v.Stream(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// snapshot is what raft would store, with chunks.
func snapshot(t testing.TB, f *fsm.FSM) []byte {
	t.Helper()
	s, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sink sink
	if err := s.Persist(&sink); err != nil {
		t.Fatal(err)
	}
	return sink.Bytes()
}

type sink struct{ bytes.Buffer }

func (*sink) ID() string    { return "" }
func (*sink) Cancel() error { return nil }
func (*sink) Close() error  { return nil }

func restore(t testing.TB, b []byte) *fsm.FSM {
	t.Helper()
	f := fsm.New()
	if err := f.Restore(io.NopCloser(bytes.NewReader(b))); err != nil {
		t.Fatal(err)
	}
	return f
}

// Every command type has a sample, and what the samples leave behind goes
// through a snapshot to the byte, whatever the order of its records.
func TestEveryCommandGoesThroughASnapshot(t *testing.T) {
	t.Parallel()
	sampled := map[structs.MessageType]bool{}
	f := fsm.New()
	for i, c := range samples {
		sampled[c.Type()] = true
		if err, failed := f.Apply(entry(t, uint64(i+1), c)).(error); failed {
			t.Fatalf("%v: %v", c.Type(), err)
		}
	}
	for _, c := range fsm.Commands() {
		if !sampled[c.Type()] {
			t.Errorf("command %v has no sample in this test", c.Type())
		}
	}
	first := snapshot(t, f)
	second := snapshot(t, restore(t, first))
	if !bytes.Equal(first, second) {
		t.Errorf("a snapshot of the restored state differs:\n%x\n%x", first, second)
	}
}

// Every table holds a row and comes back from a snapshot row for row.
func TestEveryTableGoesThroughASnapshot(t *testing.T) {
	t.Parallel()
	f := restore(t, append(header(t), 77-32, 0xa1, 'x')) // a type nobody knows
	for i, c := range samples {
		f.Apply(entry(t, uint64(i+2), c))
	}
	back := restore(t, snapshot(t, f))
	for _, table := range state.Tables {
		before, after := table.Len(f.Store().Read()), table.Len(back.Store().Read())
		if before == 0 || after != before {
			t.Errorf("table %s has %d rows before and %d after, want some and as many", table.Name(), before, after)
		}
	}
}

func header(t testing.TB) []byte {
	t.Helper()
	b, err := structs.AppendValue(nil, &structs.SnapshotHeader{LastIndex: 1})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBatchIsAsOneByOne(t *testing.T) {
	t.Parallel()
	var logs []*raft.Log
	for i := range 50 {
		c := &structs.KVSRequest{Op: structs.KVCAS, DirEnt: structs.DirEntry{Key: string(rune('a' + i%7)), Value: []byte{byte(i)}}}
		if i%5 == 0 {
			c.Op = structs.KVDelete
		}
		if i%9 == 0 {
			c.Op = "nonsense" // fails, and must not disturb its neighbours
		}
		logs = append(logs, entry(t, uint64(i+1), c))
	}
	batched, single := fsm.New(), fsm.New()
	results := batched.ApplyBatch(logs)
	for i, log := range logs {
		got, want := results[i], single.Apply(log)
		if err, ok := want.(error); ok {
			if !structs.IsCode(err, structs.Invalid) || !structs.IsCode(got.(error), structs.Invalid) {
				t.Errorf("entry %d: got %v, alone %v, want code Invalid for both", i, got, want)
			}
		} else if got != want {
			t.Errorf("entry %d: got %v, alone %v", i, got, want)
		}
	}
	if a, b := batched.View(), single.View(); a.Hash() != b.Hash() {
		t.Error("one batch and single entries left different states")
	}
}

// A transaction that fails leaves the state as it was to the byte, alone and in
// a batch, wherever in it the failure is; a result is no error of the command.
func TestFailedTxnLeavesTheHash(t *testing.T) {
	t.Parallel()
	good := []structs.TxnOp{
		{KV: &structs.TxnKVOp{Verb: structs.KVLock, DirEnt: structs.DirEntry{Key: "b/c", Session: "s"}}},
		{Session: &structs.TxnSessionOp{Verb: structs.TxnDelete, Session: structs.Session{ID: "s"}}},
		{KV: &structs.TxnKVOp{Verb: structs.KVDeleteTree}},
		{Node: &structs.TxnNodeOp{Verb: structs.TxnDelete, Node: structs.Node{Node: "n1"}}},
		{Node: &structs.TxnNodeOp{Verb: structs.TxnSet, Node: structs.Node{Node: "new", Address: "1.1.1.1"}}},
		{Service: &structs.TxnServiceOp{Verb: structs.TxnSet, Node: "new", Service: structs.NodeService{ID: "s", Service: "s"}}},
		{Check: &structs.TxnCheckOp{Verb: structs.TxnSet, Check: structs.HealthCheck{Node: "new", CheckID: "c", ServiceID: "s"}}},
		{KV: &structs.TxnKVOp{Verb: structs.KVSet, DirEnt: structs.DirEntry{Key: "x", TTL: time.Minute}}},
	}
	bad := structs.TxnOp{KV: &structs.TxnKVOp{Verb: structs.KVGet, DirEnt: structs.DirEntry{Key: "nope"}}}
	f := fsm.New()
	for i, c := range samples {
		f.Apply(entry(t, uint64(i+1), c))
	}
	before := f.View()
	want := before.Hash()
	var batch []*raft.Log
	for i := range len(good) + 1 {
		c := &structs.TxnRequest{Ops: slices.Concat(good[:i], []structs.TxnOp{bad}, good[i:])}
		log := entry(t, uint64(100+i), c)
		again := *log
		again.Index += 100
		batch = append(batch, &again)
		reply, ok := f.Apply(log).(structs.TxnResponse)
		if !ok || len(reply.Errors) != 1 || reply.Errors[0].OpIndex != i || reply.Results != nil {
			t.Errorf("fails at %d: got %+v", i, reply)
		}
		if after := f.View(); after.Hash() != want {
			t.Errorf("fails at %d: the state has changed", i)
		}
	}
	f.ApplyBatch(batch)
	if after := f.View(); after.Hash() != want {
		t.Error("a batch of them changed the state")
	}
	if reply := f.Apply(entry(t, 300, &structs.TxnRequest{Ops: good})).(structs.TxnResponse); reply.Errors != nil {
		t.Errorf("without the bad one: got %+v", reply.Errors)
	}
	if after := f.View(); after.Hash() == want {
		t.Error("without the bad one the state has not changed: this test sees nothing")
	}
}

func TestChunksAreJoined(t *testing.T) {
	t.Parallel()
	c := &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "big", Value: bytes.Repeat([]byte("x"), 1000)}}
	f := fsm.New()
	logs := split(t, 12, 1, 99, 3, c)
	logs[0].Index = 9 // another operation comes in between
	logs[1].Index = 11
	f.ApplyBatch([]*raft.Log{logs[0], entry(t, 10, samples[0]), logs[1]})
	if f.Store().Read().KV("big") != nil {
		t.Fatal("the key is there before its last part")
	}
	// A server restored from a snapshot right here must end in the same state.
	restored := restore(t, snapshot(t, f))
	if got := f.Apply(logs[2]); got != false {
		t.Errorf("result %v, want false", got)
	}
	restored.Apply(logs[2])
	if e := f.Store().Read().KV("big"); e == nil || len(e.Value) != 1000 || e.ModifyIndex != 12 {
		t.Errorf("got %+v, want 1000 bytes at index 12", e)
	}
	if !bytes.Equal(snapshot(t, f), snapshot(t, restored)) {
		t.Error("a snapshot between two parts made a difference")
	}
}

func TestChunksOfAnOlderTermAreDropped(t *testing.T) {
	t.Parallel()
	c := &structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "big", Value: []byte("xxxxxxxxxx")}}
	f := fsm.New()
	old := split(t, 2, 1, 1, 2, c)
	f.Apply(old[0])
	young := split(t, 4, 2, 2, 2, c)
	f.Apply(young[0])
	late := *old[1]
	late.Index, late.Term = 5, 2
	if got := f.Apply(&late); got != nil {
		t.Errorf("the last part of a dropped operation gave %v, want nothing", got)
	}
	if f.Store().Read().KV("big") != nil {
		t.Error("the key of a dropped operation is there")
	}
}

// A real Consul snapshot is loaded and written back as it was.
func TestConsulSnapshotIsCarried(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../shared/fixtures/consul-1.21.4.snap")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the fixtures folder stands beside the checkout, and this checkout has none beside it")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var original bytes.Buffer
	if _, err := archive.Read(file, &original); err != nil {
		t.Fatal(err)
	}
	f := restore(t, original.Bytes())
	if got := len(f.Store().Read().KVTree("")); got != 285 {
		t.Errorf("got %d keys, want 285", got)
	}
	if got := len(f.Store().Read().CheckServiceNodes("web")); got != 5 {
		t.Errorf("got %d instances of web, want 5", got)
	}
	if diff := cmp.Diff(census(t, original.Bytes()), census(t, snapshot(t, f))); diff != "" {
		t.Errorf("records (-Consul's +ours):\n%s", diff)
	}
	ours, theirs := sorted(t, snapshot(t, f)), sorted(t, original.Bytes())
	if len(ours) != len(theirs) {
		t.Fatalf("%d records, Consul wrote %d", len(ours), len(theirs))
	}
	for i := range ours {
		if ours[i] != theirs[i] {
			t.Errorf("record %d differs from Consul's:\n%q\n%q", i, ours[i], theirs[i])
		}
	}
}

// sorted are the records of a stream, byte for byte but for one thing: Consul
// writes the maps of a registration in the random order of Go's maps, so there
// their keys are put in order.
func sorted(t testing.TB, stream []byte) (list []string) {
	t.Helper()
	_, records := fsm.Records(bytes.NewReader(stream))
	for r, err := range records {
		if err != nil {
			t.Fatal(err)
		}
		value := r.Value
		if r.Kind == structs.RegisterRequestType {
			var any any
			if err := structs.DecodeValue(value, &any); err != nil {
				t.Fatal(err)
			}
			if value, err = structs.AppendValue(nil, any); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, string(append([]byte{byte(r.Kind)}, value...)))
	}
	return list
}

func census(t testing.TB, stream []byte) map[structs.MessageType]int {
	t.Helper()
	_, records := fsm.Records(bytes.NewReader(stream))
	n := map[structs.MessageType]int{}
	for r, err := range records {
		if err != nil {
			t.Fatal(err)
		}
		n[r.Kind] += len(r.Value)
	}
	return n
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	f := fsm.New()
	for i, c := range samples {
		f.Apply(entry(t, uint64(i+1), c))
	}
	good := snapshot(t, f)
	for name, test := range map[string]struct {
		stream []byte
		code   structs.Code
	}{
		"empty":       {nil, structs.Corrupt},
		"foreign":     {[]byte("PK\x03\x04 a zip file"), structs.Corrupt},
		"cut":         {good[:len(good)-3], structs.Corrupt},
		"enterprise":  {append(header(t), 70, 0xc0), structs.Unsupported},
		"wrong shape": {append(header(t), 2, 0x93, 1, 2, 3), structs.Corrupt},
	} {
		before := f.View()
		err := f.Restore(io.NopCloser(bytes.NewReader(test.stream)))
		if !structs.IsCode(err, test.code) {
			t.Errorf("%s: got %v, want code %d", name, err, test.code)
		}
		if after := f.View(); before.Hash() != after.Hash() {
			t.Errorf("%s: a refused snapshot changed the state", name)
		}
	}
}

// FuzzCommand checks that the decoder of each command fails with an error, if at all.
func FuzzCommand(f *testing.F) {
	for _, c := range samples {
		data, _ := structs.EncodeCommand(c)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		for _, c := range fsm.Commands() {
			if c.Type() == structs.MessageType(data[0]) && structs.DecodeValue(data[1:], c) == nil {
				machine := fsm.New()
				machine.Apply(&raft.Log{Index: 1, Term: 1, Data: data})
				restore(t, snapshot(t, machine))
			}
		}
	})
}

// FuzzLoad checks that a stream that loads is written and loaded again the same.
func FuzzLoad(f *testing.F) {
	machine := fsm.New()
	for i, c := range samples {
		machine.Apply(entry(f, uint64(i+1), c))
	}
	f.Add(snapshot(f, machine))
	f.Add(append(header(f), 70, 0xc0))
	f.Add(append(header(f), 44, 0x93, 1, 2, 3))
	f.Fuzz(func(t *testing.T, data []byte) {
		loaded, err := fsm.Load(bytes.NewReader(data))
		if err != nil {
			return
		}
		first := stream(t, loaded.View())
		again, err := fsm.Load(bytes.NewReader(first))
		if err != nil {
			t.Fatalf("our own stream is refused: %v", err)
		}
		if !bytes.Equal(first, stream(t, again.View())) {
			t.Fatal("a second round gave another stream")
		}
	})
}
