package fsm_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"praetor/fsm"
	"praetor/state"
	"praetor/structs"
)

// records encodes a stream of a header and records of one type each.
func records(t testing.TB, lastIndex uint64, list ...any) []byte {
	t.Helper()
	b, err := structs.AppendValue(nil, &structs.SnapshotHeader{LastIndex: lastIndex})
	for _, v := range list {
		kind := structs.RegisterRequestType
		if _, ok := v.(*structs.IndexEntry); ok {
			kind = structs.IndexType
		}
		if err == nil {
			b, err = structs.AppendValue(append(b, byte(kind)), v)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func nodeRecord(peer, name string, index uint64) *structs.RegisterRequest {
	return &structs.RegisterRequest{Node: name, Address: "10.0.0.1", PeerName: peer, RaftIndex: structs.RaftIndex{CreateIndex: index, ModifyIndex: index}}
}

// Nodes of other peers go through a snapshot, before our own and in order of
// name, and are shown to nobody.
func TestImportedNodesAreKept(t *testing.T) {
	t.Parallel()
	with := func(c *structs.RegisterRequest) []any {
		service, check := *c, *c
		service.Service = &structs.NodeService{ID: "s", Service: "web", PeerName: c.PeerName, RaftIndex: c.RaftIndex}
		check.Check = &structs.HealthCheck{Node: c.Node, CheckID: "c", Status: "passing", PeerName: c.PeerName, RaftIndex: c.RaftIndex}
		return []any{c, &service, &check}
	}
	list := slices.Concat(with(nodeRecord("Beta", "a", 5)), with(nodeRecord("gamma", "B", 6)), with(nodeRecord("gamma", "c", 6)),
		with(nodeRecord("", "a", 7)), with(nodeRecord("", "b", 8)))
	for _, name := range []string{"checks", "nodes"} {
		list = append(list, &structs.IndexEntry{Key: name, Value: 8})
	}
	for _, what := range []string{"beta:nodes", "beta:service.web", "gamma:nodes", "~:checks", "~:node.a", "~:node.b", "~:nodes", "~:service.web", "~:service_kind.typical", "~:services"} {
		list = append(list, &structs.IndexEntry{Key: "peer." + what, Value: 8})
	}
	for _, name := range []string{"service_kind.typical", "services"} {
		list = append(list, &structs.IndexEntry{Key: name, Value: 8})
	}
	original := records(t, 8, list...)
	f := restore(t, original)
	got := snapshot(t, f)
	if want := append(original, byte(structs.ChunkingStateType), 0x81, 0xa8); !bytes.HasPrefix(got, want) {
		t.Errorf("got  %q\nwant %q...", got, want)
	}
	r := f.Store().Read()
	if nodes, services, checks := len(r.Nodes()), len(r.CheckServiceNodes("web")), len(r.ChecksInState("any")); nodes != 2 || services != 2 || checks != 2 {
		t.Errorf("%d nodes, %d instances, %d checks are shown, want 2 of each: our own", nodes, services, checks)
	}
	// Ours may change beside them.
	w := f.Store().Write()
	w.Begin(9)
	if _, err := w.ApplyDeregister(&structs.DeregisterRequest{Node: "a"}); err != nil {
		t.Fatal(err)
	}
	w.Commit()
	if n := state.Nodes.Len(f.Store().Read()); n != 4 {
		t.Errorf("%d nodes are left, want 4", n)
	}
}

// Records of the catalog may come in any order.
func TestRegistrationsInAnyOrder(t *testing.T) {
	t.Parallel()
	f := fsm.New()
	for i, c := range samples {
		f.Apply(entry(t, uint64(i+1), c))
	}
	want := snapshot(t, f)
	header, sequence := fsm.Records(bytes.NewReader(want))
	var list [][]byte
	for r, err := range sequence {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, append([]byte{byte(r.Kind)}, r.Value...))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		stream := slices.Concat(records(t, header.LastIndex), bytes.Join(list, nil))
		if got := snapshot(t, restore(t, stream)); !bytes.Equal(got, want) {
			t.Fatalf("another order gave another state:\n%q\n%q", got, want)
		}
	}
}

// A Consul before 1.13 wrote no index rows by peer, an older one none of nodes.
func TestOldSnapshot(t *testing.T) {
	t.Parallel()
	first := nodeRecord("", "n1", 0)
	second := nodeRecord("", "n2", 4)
	second.Service = &structs.NodeService{ID: "s", Service: "web", RaftIndex: structs.RaftIndex{CreateIndex: 5, ModifyIndex: 6}}
	third := nodeRecord("", "n2", 4)
	third.Check = &structs.HealthCheck{Node: "n2", CheckID: "c", RaftIndex: structs.RaftIndex{CreateIndex: 7, ModifyIndex: 7}}
	f := restore(t, records(t, 30, first, second, third,
		&structs.IndexEntry{Key: "nodes", Value: 20}, &structs.IndexEntry{Key: "service.web", Value: 7}, &structs.IndexEntry{Key: "services", Value: 19}))
	if n := f.Store().Read().Node("n1"); n.CreateIndex != 30 || n.ModifyIndex != 30 {
		t.Errorf("a node without an index: got %+v, want that of the snapshot, 30", n.RaftIndex)
	}
	got := map[string]uint64{}
	for row := range state.Indexes.All(f.Store().Read()) {
		got[row.Key] = row.Value
	}
	want := map[string]uint64{
		"nodes": 20, "peer.~:nodes": 30, "services": 19, "peer.~:services": 19, "checks": 7, "peer.~:checks": 7,
		"peer.~:node.n1": 30, "peer.~:node.n2": 6, "service.web": 7, "peer.~:service.web": 7, "service_kind.typical": 7, "peer.~:service_kind.typical": 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("index rows (-want +got):\n%s", diff)
	}
	if !bytes.Equal(snapshot(t, f), snapshot(t, restore(t, snapshot(t, f)))) {
		t.Error("a second round gave another stream")
	}
}

func TestBadRegistrationsAreRefused(t *testing.T) {
	t.Parallel()
	foreign := nodeRecord("", "n1", 1)
	foreign.Check = &structs.HealthCheck{Node: "n2", CheckID: "c"}
	peer := nodeRecord("", "n1", 1)
	peer.Service = &structs.NodeService{ID: "s", Service: "s", PeerName: "p"}
	for name, c := range map[string]*structs.RegisterRequest{"a check of another node": foreign, "a service of another peer": peer} {
		if _, err := fsm.Load(bytes.NewReader(records(t, 1, c))); !structs.IsCode(err, structs.Corrupt) {
			t.Errorf("%s: got %v, want code Corrupt", name, err)
		}
	}
}
