package fsm_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

// typed is a record to be encoded.
type typed struct {
	kind  structs.MessageType
	value any
}

func encode(t testing.TB, lastIndex uint64, list ...typed) []byte {
	t.Helper()
	b, err := structs.AppendValue(nil, &structs.SnapshotHeader{LastIndex: lastIndex})
	for _, rec := range list {
		if err == nil {
			b, err = structs.AppendValue(append(b, byte(rec.kind)), rec.value)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func check(t testing.TB, stream []byte, raftIndex uint64) (violations []string) {
	t.Helper()
	var c fsm.Check
	if err := c.Run(bytes.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	return c.Violations(raftIndex)
}

func consulStream(t testing.TB) []byte {
	t.Helper()
	file, err := os.Open("archive/testdata/consul-1.21.4.snap")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var stream bytes.Buffer
	if _, err := archive.Read(file, &stream); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes()
}

// What we write and what Consul writes has nothing wrong with it.
func TestCheckPasses(t *testing.T) {
	t.Parallel()
	f := fsm.New()
	for i, c := range samples {
		f.Apply(entry(t, uint64(i+1), c))
	}
	if got := check(t, snapshot(t, f), uint64(len(samples))); got != nil {
		t.Errorf("ours: %q", got)
	}
	if got := check(t, consulStream(t), 413); got != nil {
		t.Errorf("Consul's: %q", got)
	}
}

func TestCheckFinds(t *testing.T) {
	t.Parallel()
	at := func(create, modify uint64) structs.RaftIndex {
		return structs.RaftIndex{CreateIndex: create, ModifyIndex: modify}
	}
	key := func(e structs.DirEntry) typed { return typed{structs.KVSRequestType, &e} }
	node := typed{structs.RegisterRequestType, &structs.RegisterRequest{Node: "n", RaftIndex: at(2, 2)}}
	with := func(status, service string) typed {
		return typed{structs.RegisterRequestType, &structs.RegisterRequest{Node: "n", RaftIndex: at(2, 2),
			Check: &structs.HealthCheck{Node: "N", CheckID: "C", Status: status, ServiceID: service, RaftIndex: at(3, 3)}}}
	}
	session := func(checks ...string) typed {
		return typed{structs.SessionRequestType, &structs.Session{ID: "S", Node: "N", NodeChecks: checks, RaftIndex: at(4, 4)}}
	}
	for name, test := range map[string]struct {
		records []typed
		want    []string
	}{
		"sound": {[]typed{node, with("passing", ""), session("c"),
			key(structs.DirEntry{Key: "k", Session: "s", LockIndex: 1, RaftIndex: at(5, 5)})}, nil},
		"a lock without its session": {[]typed{key(structs.DirEntry{Key: "k", Session: "s", LockIndex: 1, RaftIndex: at(5, 5)})},
			[]string{"key k is locked by session s, which is not there"}},
		"a lock that was never taken": {[]typed{node, session(), key(structs.DirEntry{Key: "k", Session: "s", RaftIndex: at(5, 5)})},
			[]string{"key k is locked and has never been locked: its LockIndex is 0"}},
		"a session without its node":  {[]typed{session()}, []string{"session S is of node N, which is not there"}},
		"a session without its check": {[]typed{node, session("c")}, []string{"session S depends on check c of node N, which is not there"}},
		"a session whose check is critical": {[]typed{node, with("critical", ""), session("c")},
			[]string{"session S depends on check c of node N, which is critical"}},
		"a check without its service": {[]typed{node, with("passing", "web")}, []string{"check C on node N is of service web, which is not there"}},
		"a key twice": {[]typed{key(structs.DirEntry{Key: "k", RaftIndex: at(5, 5)}), key(structs.DirEntry{Key: "k", RaftIndex: at(6, 6)})},
			[]string{"key k is there twice"}},
		"a node twice": {[]typed{node, node}, []string{"node n is there twice"}},
		"an index ahead of the header": {[]typed{key(structs.DirEntry{Key: "k", RaftIndex: at(5, 21)})},
			[]string{"key k was changed at index 21: the state is of index 20"}},
		"an index ahead of the snapshot": {[]typed{{structs.IndexType, &structs.IndexEntry{Key: "peer.~:nodes", Value: 31}}},
			[]string{"index row peer.~:nodes says 31: the snapshot was taken at 30"}},
		"a table behind its rows": {[]typed{key(structs.DirEntry{Key: "k", RaftIndex: at(5, 6)}), {structs.IndexType, &structs.IndexEntry{Key: "kvs", Value: 5}}},
			[]string{"index row kvs says 5, and has a row that was changed at 6"}},
		"changed before it was created": {[]typed{key(structs.DirEntry{Key: "k", RaftIndex: at(6, 5)})},
			[]string{"key k was created at index 6, after its last change at 5"}},
		"a deleted key": {[]typed{key(structs.DirEntry{Key: "k", RaftIndex: at(5, 5)}),
			{structs.TombstoneRequestType, &structs.DirEntry{Key: "k", RaftIndex: at(0, 7)}}},
			[]string{"key k was created at index 5 and deleted at 7: it should not be there"}},
		"a key written again": {[]typed{key(structs.DirEntry{Key: "k", RaftIndex: at(7, 7)}),
			{structs.TombstoneRequestType, &structs.DirEntry{Key: "k", RaftIndex: at(0, 7)}}}, nil},
		"metadata twice": {[]typed{{31, &structs.MetadataEntry{Key: "k", RaftIndex: at(5, 5)}}, {31, &structs.MetadataEntry{Key: "k", RaftIndex: at(6, 6)}}},
			[]string{"metadata k is there twice"}},
		"metadata of a restore": {[]typed{{31, &structs.MetadataEntry{Key: "k", RaftIndex: at(5, 5)}}, {31, &structs.MetadataEntry{Key: "k"}}}, nil},
		"several at once": {[]typed{session(), session(), {structs.KVSRequestType, "x"}}, []string{
			"session s is there twice", "record 3, of type KVS, cannot be restored: ",
			"session S is of node N, which is not there", "session S is of node N, which is not there"}},
	} {
		got := check(t, encode(t, 20, test.records...), 30)
		ok := len(got) == len(test.want)
		for i := range test.want {
			ok = ok && strings.HasPrefix(got[i], test.want[i])
		}
		if !ok {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, test.want)
		}
	}
	if got := check(t, encode(t, 20), 10); len(got) != 1 {
		t.Errorf("a header ahead of the metadata: got %q", got)
	}
	if err := new(fsm.Check).Run(bytes.NewReader(encode(t, 20, typed{70, "x"}))); !structs.IsCode(err, structs.Unsupported) {
		t.Errorf("Enterprise: got %v", err)
	}
	if err := new(fsm.Check).Run(strings.NewReader("PK")); !structs.IsCode(err, structs.Corrupt) {
		t.Errorf("no stream at all: got %v", err)
	}
}

// Enterprise's records are left out when that is asked for, and nothing else is.
func TestWithoutEnterprise(t *testing.T) {
	t.Parallel()
	plain := encode(t, 9, typed{structs.KVSRequestType, &structs.DirEntry{Key: "k", RaftIndex: structs.RaftIndex{CreateIndex: 9, ModifyIndex: 9}}},
		typed{44, "unknown"}, typed{structs.ChunkingStateType, &structs.ChunkingState{}})
	header := encode(t, 9)
	mixed := slices.Concat(header, []byte{70, 0xc0, 65, 0x93, 1, 2, 3}, plain[len(header):], []byte{70, 0x01})
	want := structs.Dropped{65: 1, 70: 2}

	var rest bytes.Buffer
	dropped, err := fsm.WithoutEnterprise(&rest, bytes.NewReader(mixed))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, dropped); diff != "" || dropped.String() != "1 of type 65, 2 of type 70" {
		t.Errorf("dropped %q: %s", dropped, diff)
	}
	if !bytes.Equal(rest.Bytes(), plain) {
		t.Errorf("got  %x\nwant %x", rest.Bytes(), plain)
	}
	loaded, dropped, err := fsm.LoadWithoutEnterprise(bytes.NewReader(mixed))
	if err != nil || loaded.Store.Read().KV("k") == nil || !cmp.Equal(want, dropped) {
		t.Errorf("load: dropped %v, %v", dropped, err)
	}
	if _, err := fsm.WithoutEnterprise(&rest, bytes.NewReader(mixed[:len(mixed)-1])); !structs.IsCode(err, structs.Corrupt) {
		t.Errorf("a stream cut short: got %v", err)
	}
}
