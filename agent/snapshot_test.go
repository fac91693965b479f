package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"praetor/fsm/archive"
	"praetor/structs"
)

// A snapshot of a real Consul is put into a running server, which then answers
// as that Consul did: every section of its answers, row for row, with equal
// indexes. The server is alive and adds what any server does for itself: its
// node, with serfHealth on it and an instance of the service consul. These
// stand beside what was restored, and are looked at and then left out of the
// comparison. The old server c1 is a node that gossip does not know here: it is
// kept, and in time its serfHealth turns critical. Sessions stay because their
// time to live begins anew; what is left of it is ours to show, and left out.
func TestConsulSnapshotEndToEnd(t *testing.T) {
	t.Parallel()
	const fixture = "../../shared/fixtures/consul-1.21.4."
	snap, err := os.ReadFile(fixture + "snap")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the fixtures folder stands beside the checkout, and this checkout has none beside it")
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fixture + "json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	a := newTestAPI(t, nil).settled()
	if got := a.do("PUT", "/v1/snapshot", string(snap)); got.status != 200 {
		t.Fatalf("restore: %d %s", got.status, got.body)
	}
	a.settled()
	own := func(row any) bool { return row.(map[string]any)["Node"] == "node-a" }
	compared := map[string]bool{}
	for section, target := range map[string]string{
		"kv": "/v1/kv/?recurse", "sessions": "/v1/session/list", "nodes": "/v1/catalog/nodes", "services": "/v1/catalog/services",
		"health_web": "/v1/health/service/web", "queries": "/v1/query", "autopilot": "/v1/operator/autopilot/configuration",
	} {
		var got any
		if err := json.Unmarshal([]byte(a.ask("GET "+target).body), &got); err != nil {
			t.Fatal(err)
		}
		if section == "nodes" {
			rows := got.([]any)
			if got = slices.DeleteFunc(slices.Clone(rows), own); len(got.([]any)) != len(rows)-1 {
				t.Errorf("our own node is there %d times, want once, beside those that were restored", len(rows)-len(got.([]any)))
			}
		}
		if rows, isList := got.([]any); isList && section == "sessions" {
			for _, row := range rows {
				delete(row.(map[string]any), "ExpiresIn") // ours, and new at every moment
			}
		}
		if diff := cmp.Diff(want[section], got); diff != "" {
			t.Errorf("%s (-Consul's +ours):\n%s", section, diff)
		}
		compared[section] = true
	}
	for section := range want {
		if !compared[section] {
			t.Errorf("section %s of the fixture is not compared", section)
		}
	}
	var servers []any
	if err := json.Unmarshal([]byte(a.ask("GET /v1/health/service/consul").body), &servers); err != nil {
		t.Fatal(err)
	}
	if len(servers) != 2 {
		t.Errorf("the service consul has %d instances, want the restored one of c1 and our own", len(servers))
	}

	// What goes out again is what came in, for those that Praetor does not serve too.
	saved := a.ask("GET /v1/snapshot").body
	var stream bytes.Buffer
	if _, err := archive.Read(bytes.NewReader([]byte(saved)), &stream); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(stream.Bytes(), []byte{30, 0x84, 0xaa, 'D'}) {
		t.Error("the federation state, a record that is carried, is not in our own snapshot")
	}
}

// Records of Consul Enterprise make a snapshot unfit, until they are to be left
// out: then the reply says what was.
func TestSkipEnterprise(t *testing.T) {
	t.Parallel()
	stream, err := structs.AppendValue(nil, &structs.SnapshotHeader{LastIndex: 9})
	if err == nil {
		stream = append(stream, 70, 0xc0, byte(structs.KVSRequestType))
		stream, err = structs.AppendValue(stream, &structs.DirEntry{Key: "k", RaftIndex: structs.RaftIndex{CreateIndex: 9, ModifyIndex: 9}})
	}
	var snap bytes.Buffer
	if err == nil {
		err = archive.Write(&snap, &raft.SnapshotMeta{Version: 1, ID: "1-9-1", Index: 9, Term: 1, Size: int64(len(stream))}, bytes.NewReader(stream))
	}
	if err != nil {
		t.Fatal(err)
	}
	a := newTestAPI(t, nil).settled()
	a.ask("PUT /v1/kv/before 1")
	if got := a.do("PUT", "/v1/snapshot", snap.String()); got.status != 501 || a.do("GET", "/v1/kv/before", "").status != 200 {
		t.Fatalf("got %d %s, want 501 and nothing changed", got.status, got.body)
	}
	got := a.do("PUT", "/v1/snapshot?skip-enterprise", snap.String())
	if got.status != 200 || got.header.Get("X-Praetor-Dropped") != "1 of type 70" {
		t.Fatalf("got %d %s, dropped %q", got.status, got.body, got.header.Get("X-Praetor-Dropped"))
	}
	if a.do("GET", "/v1/kv/before", "").status != 404 || a.do("GET", "/v1/kv/k", "").status != 200 {
		t.Error("the snapshot was not restored")
	}
}
