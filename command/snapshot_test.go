package command_test

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"praetor/fsm/archive"
	"praetor/structs"
)

// archived is a snapshot of index 20 of the given records.
func archived(t *testing.T, records ...typed) []byte {
	t.Helper()
	stream, err := structs.AppendValue(nil, &structs.SnapshotHeader{LastIndex: 20})
	for _, rec := range records {
		if err == nil {
			stream, err = structs.AppendValue(append(stream, byte(rec.kind)), rec.value)
		}
	}
	var out bytes.Buffer
	if err == nil {
		meta := &raft.SnapshotMeta{Version: 1, ID: "1-20-1", Index: 20, Term: 1, Size: int64(len(stream))}
		err = archive.Write(&out, meta, bytes.NewReader(stream))
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// typed is a record to be encoded.
type typed struct {
	kind  structs.MessageType
	value any
}

// archives are the snapshots that scripts can name besides Consul's.
func archives(t *testing.T) map[string][]byte {
	t.Helper()
	at := func(i uint64) structs.RaftIndex { return structs.RaftIndex{CreateIndex: i, ModifyIndex: i} }
	key := func(name, value string, index uint64) typed {
		return typed{structs.KVSRequestType, &structs.DirEntry{Key: name, Value: []byte(value), RaftIndex: at(index)}}
	}
	locked := func(name, session string) typed {
		return typed{structs.KVSRequestType, &structs.DirEntry{Key: name, Session: session, LockIndex: 1, RaftIndex: at(9)}}
	}
	node := typed{structs.RegisterRequestType, &structs.RegisterRequest{Node: "n1", Address: "10.0.0.1", RaftIndex: at(2)}}
	web := func(port int, index uint64) typed {
		return typed{structs.RegisterRequestType, &structs.RegisterRequest{Node: "n1", Address: "10.0.0.1", RaftIndex: at(2),
			Service: &structs.NodeService{ID: "web1", Service: "web", Port: port, RaftIndex: at(index)}}}
	}
	session := typed{structs.SessionRequestType, &structs.Session{ID: "s1", Name: "lock", Node: "n1", RaftIndex: at(4)}}
	return map[string][]byte{
		"a.snap": archived(t, node, web(80, 3), session, key("app/a", "1", 5), key("app/b", "two\n", 6), key("app/same", "x", 7), locked("lock", "s1")),
		"b.snap": archived(t, node, web(8080, 10), key("app/a", "one", 11), key("app/c", "3", 12), key("app/same", "x", 13),
			typed{structs.KVSRequestType, &structs.DirEntry{Key: "lock", LockIndex: 1, RaftIndex: at(14)}}, typed{22, "raw"}),
		"enterprise.snap": archived(t, typed{70, map[string]any{"Name": "area"}}, node, typed{65, "x"}, key("app/a", "1", 5), typed{70, nil}),
		"unsound.snap": archived(t, typed{structs.SessionRequestType, &structs.Session{ID: "s1", Node: "n2", RaftIndex: at(4)}},
			key("a", "1", 5), key("a", "2", 6), key("b", "1", 21), locked("lock", "s9"), typed{structs.IndexType, &structs.IndexEntry{Key: "kvs", Value: 25}}),
	}
}

// A prefix is put back into a live cluster, whatever the size of its values and
// of the prefix, and nothing else is touched.
func TestPrefixIsPutBack(t *testing.T) {
	newServer(t)
	workspace(t)
	want := func(command, part string) {
		t.Helper()
		if got := run(t, strings.Fields(command)...); !strings.Contains(got, part) {
			t.Errorf("$ praetor %s\n%s\nwant %q in it", command, got, part)
		}
	}
	want("snapshot restore consul.snap", "Restored snapshot")
	export := run(t, "kv", "export")
	var session string
	for line := range strings.Lines(run(t, "kv", "get", "-detailed", "locks/a")) {
		if rest, ok := strings.CutPrefix(line, "Session"); ok {
			session = strings.TrimSpace(rest)
		}
	}
	for _, command := range []string{
		"kv delete -recurse app/a/", "kv put app/a/new 1", "kv put -flags=9 big small", "kv delete app/c/key-0252", "kv put locks/a other", "kv put UPPER changed",
	} {
		want(command, "Success!")
	}
	want("snapshot restore -prefix=app/ -dry-run consul.snap", "- app/a/new (1B)")
	want("kv get app/a/new", "1")
	want("snapshot restore -prefix=app/ -keep consul.snap", "to delete: 0")
	want("kv get app/a/new", "1")
	want("snapshot restore -prefix=app/ consul.snap", "Put back \"app/\": 1 key changed")
	want("snapshot restore -prefix=big consul.snap", "~ big (488.3KB, now 5B)")
	want("snapshot restore -prefix=locks/ consul.snap", "1 key changed")
	want("kv get UPPER", "changed") // under none of the prefixes
	want("snapshot restore -prefix=UPPER consul.snap", "1 key changed")
	if got := run(t, "kv", "export"); got != export {
		t.Errorf("keys differ from those of the snapshot: %d bytes, want %d", len(got), len(export))
	}
	if session == "" {
		t.Error("locks/a is not locked: this test sees nothing")
	}
	want("kv get -detailed locks/a", session) // its lock stays
	want("snapshot save after.snap", "Saved and verified")
	want("snapshot verify after.snap", "Verified")
	want("snapshot diff -prefix=app/ consul.snap after.snap", "No difference")
}

// Whoever writes to the prefix meanwhile is not overwritten, and a server that
// takes only small transactions gets them.
func TestPrefixIsPutBackInTransactions(t *testing.T) {
	f := newFake(t)
	workspace(t)
	f.refuse = func(r *http.Request) (int, string) {
		if r.URL.Path != "/v1/txn" {
			return 0, ""
		}
		return http.StatusConflict, `{"Results":null,"Errors":[{"OpIndex":1,"What":"failed to set key, index is stale"}]}`
	}
	got := run(t, "snapshot", "restore", "-prefix=app/", "a.snap")
	if !strings.Contains(got, "! Error! These keys have changed since the difference was shown, so the transaction with them was not done:\n!   app/b\n") ||
		!strings.HasSuffix(got, "(exit 1)\n") {
		t.Errorf("a key that has changed: got %s", got)
	}
	bodies := []string{}
	f.refuse = func(r *http.Request) (int, string) {
		if r.URL.Path != "/v1/txn" {
			return 0, ""
		}
		body := f.bodies[len(f.bodies)-1]
		if strings.Count(body, `"KV"`) > 2 {
			return http.StatusRequestEntityTooLarge, "too many operations"
		}
		bodies = append(bodies, strings.TrimSpace(body))
		return http.StatusOK, "{}"
	}
	if got := run(t, "snapshot", "restore", "-prefix=app/", "a.snap"); !strings.HasSuffix(got, "Put back \"app/\": 3 keys changed\n") {
		t.Errorf("small transactions: got %s", got)
	}
	want := []string{
		`[{"KV":{"Verb":"cas","Key":"app/a","Value":"MQ==","Index":0}}]`,
		`[{"KV":{"Verb":"cas","Key":"app/b","Value":"dHdvCg==","Index":0}},{"KV":{"Verb":"cas","Key":"app/same","Value":"eA==","Index":0}}]`,
	}
	if diff := cmp.Diff(want, bodies); diff != "" {
		t.Error(diff)
	}
}

// JSON has no form for a key that is no text: it would be written under another
// name.
func TestPrefixWithAKeyThatIsNoText(t *testing.T) {
	f := newFake(t)
	workspace(t)
	snap := archived(t, typed{structs.KVSRequestType, &structs.DirEntry{Key: "app/\xff", Value: []byte("2")}})
	if err := os.WriteFile("binary.snap", snap, 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, "snapshot", "restore", "-prefix=app/", "binary.snap")
	if !strings.Contains(got, `"app/\xff" is no UTF-8 text`) || !strings.HasSuffix(got, "(exit 1)\n") {
		t.Errorf("got %s", got)
	}
	if got = run(t, "snapshot", "export", "-kv", "binary.snap"); !strings.Contains(got, "the names of 1 keys") || !strings.HasSuffix(got, "(exit 2)\n") {
		t.Errorf("export: got %s", got)
	}
	for _, body := range f.bodies {
		if strings.Contains(body, "KV") {
			t.Errorf("it wrote %s", body)
		}
	}
}
