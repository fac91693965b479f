package state_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"praetor/state"
	"praetor/structs"
)

// twin is keys, sessions and tombstones as maps, written without a thought for
// speed: what package state must do.
type twin struct {
	keys     map[string]structs.DirEntry
	since    map[string]uint64 // index at which the TTL of a key began to run
	stones   map[string]structs.Tombstone
	sessions map[string]structs.Session
	checks   map[string]string // status by node/check; a node alone is there
	kvs      uint64            // index of each table
	tombs    uint64
	sess     uint64
}

func newTwin() *twin {
	return &twin{
		keys: map[string]structs.DirEntry{}, since: map[string]uint64{},
		stones: map[string]structs.Tombstone{}, sessions: map[string]structs.Session{}, checks: map[string]string{},
	}
}

func (m *twin) clone() *twin {
	c := *m
	c.keys, c.since, c.stones, c.sessions = maps.Clone(m.keys), maps.Clone(m.since), maps.Clone(m.stones), maps.Clone(m.sessions)
	c.checks = maps.Clone(m.checks)
	return &c
}

// kv returns the result of a command; the text of an error is its first words.
func (m *twin) kv(index uint64, c structs.KVSRequest) (done bool, failure string) {
	e := c.DirEnt
	if f := c.Fence; f != nil {
		if row := m.keys[f.Key]; row.Session == "" || row.LockIndex != f.LockIndex {
			return false, "fenced"
		}
	}
	old, exists := m.keys[e.Key]
	switch c.Op {
	case structs.KVCAS:
		if e.ModifyIndex != old.ModifyIndex {
			return false, ""
		}
		m.set(index, e, m.memory(e.Key))
		return true, ""
	case structs.KVSet:
		m.set(index, e, m.memory(e.Key))
	case structs.KVDeleteCAS:
		if exists && e.ModifyIndex != old.ModifyIndex {
			return false, ""
		}
		m.delete(index, e.Key)
		return true, ""
	case structs.KVDelete:
		m.delete(index, e.Key)
	case structs.KVDeleteTree:
		m.deleteTree(index, e.Key)
	case structs.KVExpire:
		if !exists || old.TTL == 0 || m.since[e.Key] != e.TTLIndex {
			return false, ""
		}
		m.delete(index, e.Key)
		return true, ""
	case structs.KVLock:
		if e.Session == "" {
			return false, "missing session"
		}
		if _, known := m.sessions[strings.ToLower(e.Session)]; !known {
			return false, "invalid session"
		}
		memory := m.memory(e.Key)
		if memory.LockDelayIndex > e.LockDelayIndex || memory.Session != "" && memory.Session != strings.ToLower(e.Session) {
			return false, ""
		}
		if memory.Session == "" {
			memory = structs.DirEntry{Session: strings.ToLower(e.Session), LockIndex: memory.LockIndex + 1}
		}
		m.set(index, e, memory)
		return true, ""
	case structs.KVUnlock:
		if e.Session == "" {
			return false, "missing session"
		}
		if old.Session != strings.ToLower(e.Session) {
			return false, ""
		}
		memory := m.memory(e.Key)
		memory.Session = ""
		m.set(index, e, memory)
		return true, ""
	}
	return false, ""
}

// memory is what is known of a key's lock, by the key or by its tombstone.
func (m *twin) memory(key string) structs.DirEntry {
	if e, exists := m.keys[key]; exists {
		return e
	}
	stone := m.stones[key]
	return structs.DirEntry{LockIndex: stone.LockIndex, LockDelay: stone.LockDelay, LockDelayIndex: stone.LockDelayIndex}
}

func (m *twin) set(index uint64, e, memory structs.DirEntry) {
	e.Session, e.LockIndex, e.LockDelay, e.LockDelayIndex = memory.Session, memory.LockIndex, memory.LockDelay, memory.LockDelayIndex
	e.TTLIndex = 0
	if len(e.Value) == 0 {
		e.Value = nil
	}
	delete(m.since, e.Key)
	if e.TTL != 0 {
		m.since[e.Key] = index
	}
	old, exists := m.keys[e.Key]
	e.CreateIndex, e.ModifyIndex = old.CreateIndex, old.ModifyIndex
	if exists && cmp.Equal(old, e) {
		return
	}
	e.ModifyIndex = index
	if !exists {
		e.CreateIndex = index
	}
	m.keys[e.Key], m.kvs = e, index
}

func (m *twin) delete(index uint64, key string) {
	if _, exists := m.keys[key]; exists {
		m.bury(index, key)
		m.remove(index, key)
	}
}

func (m *twin) remove(index uint64, key string) {
	delete(m.keys, key)
	delete(m.since, key)
	m.kvs = index
}

func (m *twin) bury(index uint64, key string) {
	memory := m.memory(key)
	m.tombs = index
	m.stones[key] = structs.Tombstone{
		Key: key, Index: index, LockIndex: memory.LockIndex, LockDelay: memory.LockDelay, LockDelayIndex: memory.LockDelayIndex,
	}
}

func (m *twin) deleteTree(index uint64, prefix string) {
	any := false
	for key, e := range maps.Clone(m.keys) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		any = true
		if key != prefix {
			if e.LockIndex != 0 || e.LockDelayIndex != 0 {
				m.bury(index, key)
			}
			m.remove(index, key)
		}
	}
	if any && prefix != "" {
		m.bury(index, prefix)
	}
	if e, exists := m.keys[prefix]; exists {
		if prefix == "" && (e.LockIndex != 0 || e.LockDelayIndex != 0) {
			m.bury(index, prefix)
		}
		m.remove(index, prefix)
	}
}

func (m *twin) reap(upTo uint64) {
	maps.DeleteFunc(m.stones, func(_ string, t structs.Tombstone) bool { return t.Index <= upTo })
}

// create returns the first words of the error.
func (m *twin) create(index uint64, s structs.Session) (failure string) {
	if _, exists := m.checks[s.Node]; !exists {
		return "Missing node"
	}
	for _, check := range s.NodeChecks {
		if status, exists := m.checks[s.Node+"/"+check]; !exists {
			return "Missing check '" + check
		} else if status == structs.HealthCritical && check != follower {
			return "Check '" + check
		}
	}
	s.CreateIndex, s.ModifyIndex = index, index
	m.sessions[s.ID], m.sess = s, index
	m.turn(index, s, structs.HealthPassing)
	return ""
}

// follower is a check that follows the session that has its name.
const follower = "follower"

func (m *twin) turn(index uint64, s structs.Session, status string) {
	if before, exists := m.checks[s.Node+"/"+follower]; exists && s.Name == follower && before != status {
		m.check(index, s.Node, follower, status)
	}
}

func (m *twin) check(index uint64, node, check, status string) {
	m.checks[node], m.checks[node+"/"+check] = "", status
	if status == structs.HealthCritical {
		m.lose(index, func(s structs.Session) bool { return s.Node == node && slices.Contains(s.NodeChecks, check) })
	}
}

func (m *twin) deregister(index uint64, node string) {
	m.lose(index, func(s structs.Session) bool { return s.Node == node })
	maps.DeleteFunc(m.checks, func(name, _ string) bool { return strings.HasPrefix(name, node) })
}

func (m *twin) lose(index uint64, which func(structs.Session) bool) {
	for id, s := range maps.Clone(m.sessions) {
		if which(s) {
			m.destroy(index, id)
		}
	}
}

func (m *twin) destroy(index uint64, id string) {
	s, exists := m.sessions[id]
	if !exists {
		return
	}
	delete(m.sessions, id)
	m.sess = index
	for key, e := range maps.Clone(m.keys) {
		if e.Session != id {
			continue
		}
		e.Session = ""
		if s.LockDelay > 0 {
			e.LockDelay, e.LockDelayIndex = min(s.LockDelay, time.Minute), index
		}
		e.ModifyIndex = index
		m.keys[key], m.kvs = e, index
		if s.Behavior == structs.SessionDelete {
			m.delete(index, key)
		}
	}
	m.turn(index, s, structs.HealthCritical)
}

// list returns the rows under a prefix and the index of the list.
func (m *twin) list(prefix string) (rows []structs.DirEntry, index uint64) {
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		if strings.HasPrefix(key, prefix) {
			rows = append(rows, m.keys[key])
			index = max(index, m.keys[key].ModifyIndex)
		}
	}
	for key, stone := range m.stones {
		if strings.HasPrefix(key, prefix) {
			index = max(index, stone.Index)
		}
	}
	if prefix == "" || index == 0 {
		index = max(m.kvs, m.tombs)
	}
	return rows, index
}

// get returns what a read of one key finds, and its index.
func (m *twin) get(key string) (rows []structs.DirEntry, index uint64) {
	if row, exists := m.keys[key]; exists {
		return []structs.DirEntry{row}, row.ModifyIndex
	}
	return nil, max(m.kvs, m.tombs)
}

// watcher is a read that waits, and what it found.
type watcher struct {
	name   string
	reader *state.Reader
	rows   []structs.DirEntry
	again  func(*twin) []structs.DirEntry
}

// Random commands in random batches, some of them failing after they changed
// something, leave the store and its twin alike and wake whom they must.
func TestDumbTwin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[ab]?(/[ab]?){0,2}`)
		s, m := state.New(), newTwin()
		index := begin(t, s, m)
		for range rapid.IntRange(1, 20).Draw(t, "batches") {
			waiting := watchAll(s, m)
			w := s.Write()
			for range rapid.IntRange(1, 5).Draw(t, "commands") {
				index += rapid.Uint64Range(1, 2).Draw(t, "step")
				w.Begin(index)
				before := m.clone()
				for range rapid.IntRange(1, 3).Draw(t, "changes") {
					change(t, w, m, index, key)
				}
				if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
					w.Undo()
					m = before
				}
			}
			w.Commit()
			compare(t, s, m)
			for _, wait := range waiting {
				if !cmp.Equal(wait.rows, wait.again(m)) && !woken(wait.reader) {
					t.Fatalf("%s has changed but was not woken", wait.name)
				}
			}
		}
	})
}

// begin gives the store and the twin nodes, checks and sessions to start with.
func begin(t *rapid.T, s *state.Store, m *twin) uint64 {
	w := s.Write()
	defer w.Commit()
	w.Begin(1)
	for _, node := range nodeNames {
		for _, check := range checkIDs {
			registerCheck(t, w, m, 1, node, check, structs.HealthPassing)
		}
	}
	for range sessionIDs {
		changeSession(t, w, m, 1, structs.SessionCreate)
	}
	return 1
}

// sessionIDs are the ids that sessions may have.
var sessionIDs = []string{"s1", "s2", "s3"}

// change does one random thing to the store and the twin.
func change(t *rapid.T, w *state.Writer, m *twin, index uint64, keys *rapid.Generator[string]) {
	op := rapid.SampledFrom([]structs.KVOp{
		structs.KVSet, structs.KVSet, structs.KVCAS, structs.KVDelete, structs.KVDeleteCAS, structs.KVDeleteTree,
		structs.KVLock, structs.KVLock, structs.KVLock, structs.KVUnlock, structs.KVUnlock, structs.KVExpire,
		"reap", "nonsense", "create", "create", "create", "destroy", "check", "check", "deregister",
	}).Draw(t, "op")
	switch op {
	case "reap":
		upTo := rapid.Uint64Range(0, index).Draw(t, "up to")
		if _, err := w.ApplyTombstone(&structs.TombstoneRequest{Op: structs.TombstoneReap, ReapIndex: upTo}); err != nil {
			t.Fatal(err)
		}
		m.reap(upTo)
	case "check", "deregister":
		changeCatalog(t, w, m, index, op == "deregister")
	case "create", "destroy":
		changeSession(t, w, m, index, structs.SessionOp(op))
	default:
		changeKV(t, w, m, index, op, keys)
	}
}

func changeSession(t *rapid.T, w *state.Writer, m *twin, index uint64, op structs.SessionOp) {
	s := structs.Session{ID: rapid.SampledFrom(sessionIDs).Draw(t, "session")}
	failure := ""
	if op == structs.SessionDestroy {
		m.destroy(index, s.ID)
	} else {
		if _, exists := m.sessions[s.ID]; exists {
			return
		}
		s.Node = rapid.SampledFrom(nodeNames).Draw(t, "node")
		s.Name = rapid.SampledFrom([]string{"", follower}).Draw(t, "name")
		s.NodeChecks = rapid.SliceOfNDistinct(rapid.SampledFrom(checkIDs), 0, 2, rapid.ID).Draw(t, "checks")
		s.Behavior = rapid.SampledFrom([]structs.SessionBehavior{structs.SessionRelease, structs.SessionDelete}).Draw(t, "behavior")
		s.LockDelay = rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour}).Draw(t, "lock delay")
		failure = m.create(index, s)
	}
	_, err := w.ApplySession(&structs.SessionRequest{Op: op, Session: s})
	if failure != "" && (err == nil || !strings.HasPrefix(err.Error(), failure)) || failure == "" && err != nil {
		t.Fatalf("%s of %s: got %v, want %q", op, s.ID, err, failure)
	}
}

var (
	nodeNames = []string{"n1", "n2"}
	checkIDs  = []string{"c1", structs.SerfHealth, follower}
)

// changeCatalog registers a check, or takes a whole node away.
func changeCatalog(t *rapid.T, w *state.Writer, m *twin, index uint64, gone bool) {
	node := rapid.SampledFrom(nodeNames).Draw(t, "node")
	if gone {
		m.deregister(index, node)
		if _, err := w.ApplyDeregister(&structs.DeregisterRequest{Node: strings.ToUpper(node)}); err != nil {
			t.Fatal(err)
		}
		return
	}
	status := rapid.SampledFrom([]string{structs.HealthPassing, structs.HealthPassing, structs.HealthCritical}).Draw(t, "status")
	registerCheck(t, w, m, index, node, rapid.SampledFrom(checkIDs).Draw(t, "check"), status)
}

func registerCheck(t *rapid.T, w *state.Writer, m *twin, index uint64, node, check, status string) {
	m.check(index, node, check, status)
	c := &structs.HealthCheck{Node: node, CheckID: check, Status: status}
	if check == follower {
		c.Type, c.Definition.SessionName = "session", follower
	}
	if _, err := w.ApplyRegister(&structs.RegisterRequest{Node: node, Address: "10.0.0.1", Check: c}); err != nil {
		t.Fatal(err)
	}
}

func changeKV(t *rapid.T, w *state.Writer, m *twin, index uint64, op structs.KVOp, keys *rapid.Generator[string]) {
	c := structs.KVSRequest{Op: op, DirEnt: structs.DirEntry{
		Key:       keys.Draw(t, "key"),
		Value:     []byte(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value")),
		Flags:     rapid.Uint64Range(0, 1).Draw(t, "flags"),
		LockIndex: rapid.Uint64Range(0, 1).Draw(t, "lock index"),
		LockDelay: rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "forged delay"),
		TTL:       rapid.SampledFrom([]time.Duration{0, 0, time.Second, time.Minute}).Draw(t, "ttl"),
		Session:   rapid.SampledFrom([]string{"s1", "s2", "S1", "none", ""}).Draw(t, "session"),
	}}
	e := &c.DirEnt
	if op == structs.KVLock || op == structs.KVUnlock {
		e.Key = rapid.SampledFrom([]string{"a", "a/a", "b/"}).Draw(t, "lock")
		if holder := m.keys[e.Key].Session; holder != "" && rapid.Bool().Draw(t, "as holder") {
			e.Session = holder
		}
	}
	if rapid.Bool().Draw(t, "right index") {
		e.ModifyIndex, e.TTLIndex = m.keys[e.Key].ModifyIndex, m.since[e.Key]
		e.LockDelayIndex = m.memory(e.Key).LockDelayIndex
	} else {
		e.ModifyIndex = rapid.Uint64Range(0, index).Draw(t, "index")
		e.TTLIndex = rapid.Uint64Range(0, index).Draw(t, "ttl index")
		e.LockDelayIndex = rapid.Uint64Range(0, index).Draw(t, "lock delay index")
	}
	if rapid.IntRange(0, 3).Draw(t, "fence") == 0 {
		c.Fence = &structs.Fence{Key: keys.Draw(t, "fence key"), LockIndex: rapid.Uint64Range(0, 2).Draw(t, "fence index")}
	}
	request := c
	done, err := w.ApplyKV(&request)
	if want, failure := m.kv(index, c); failure != "" {
		if err == nil || !strings.HasPrefix(err.Error(), failure) || done {
			t.Fatalf("%s %q at %d: got %v, %v, want %s", op, e.Key, index, done, err, failure)
		}
	} else if op == "nonsense" {
		if !structs.IsCode(err, structs.Invalid) {
			t.Fatalf("nonsense: got %v, want code Invalid", err)
		}
	} else if err != nil || done != want {
		t.Fatalf("%s %q at %d: got %v, %v, want %v", op, e.Key, index, done, err, want)
	}
}

// probes are the keys and prefixes that are compared.
var probes = []string{"", "a", "b", "/", "a/", "a/a", "a/a/", "a/b", "a//", "//", "b/", "b/b/b", "c"}

func watchAll(s *state.Store, m *twin) []watcher {
	var all []watcher
	for _, probe := range probes {
		got := watcher{name: fmt.Sprintf("get %q", probe), reader: s.Watch()}
		got.again = func(m *twin) []structs.DirEntry { rows, _ := m.get(probe); return rows }
		got.reader.KV(probe)
		list := watcher{name: fmt.Sprintf("list %q", probe), reader: s.Watch()}
		list.again = func(m *twin) []structs.DirEntry { rows, _ := m.list(probe); return rows }
		list.reader.KVTree(probe)
		got.rows, list.rows = got.again(m), list.again(m)
		all = append(all, got, list)
	}
	return all
}

func compare(t *rapid.T, s *state.Store, m *twin) {
	for _, probe := range probes {
		r := s.Read()
		var got []structs.DirEntry
		for _, e := range r.KVTree(probe) {
			got = append(got, *e)
		}
		want, index := m.list(probe)
		if diff := cmp.Diff(want, got); diff != "" || r.Index() != index {
			t.Fatalf("list %q: index %d, want %d; rows (-twin +store):\n%s", probe, r.Index(), index, diff)
		}
		r = s.Read()
		got = nil
		if e := r.KV(probe); e != nil {
			got = append(got, *e)
		}
		want, index = m.get(probe)
		if diff := cmp.Diff(want, got); diff != "" || r.Index() != index {
			t.Fatalf("get %q: index %d, want %d; rows (-twin +store):\n%s", probe, r.Index(), index, diff)
		}
	}
	compareRest(t, s.Read(), m)
}

// compareRest compares what is not read as keys.
func compareRest(t *rapid.T, r *state.Reader, m *twin) {
	stones, since, sessions := map[string]structs.Tombstone{}, map[string]uint64{}, map[string]structs.Session{}
	for stone := range state.Tombstones.All(r) {
		stones[stone.Key] = *stone
	}
	for ttl := range r.KeyTTLsSince(0) {
		if since[ttl.Key] = ttl.Index; ttl.TTL != m.keys[ttl.Key].TTL {
			t.Fatalf("TTL of %q: got %v, want %v", ttl.Key, ttl.TTL, m.keys[ttl.Key].TTL)
		}
	}
	for _, s := range slices.Concat(r.NodeSessions("N1"), r.NodeSessions("n2")) {
		sessions[s.ID] = *s
	}
	diff := cmp.Diff(m.stones, stones) + cmp.Diff(m.since, since) + cmp.Diff(m.sessions, sessions)
	if diff != "" {
		t.Fatalf("tombstones, TTLs and sessions (-twin +store):\n%s", diff)
	}
	if got := len(r.Sessions()); got != len(sessions) || r.SessionsIndex() != m.sess {
		t.Fatalf("got %d sessions at %d, want %d at %d", got, r.SessionsIndex(), len(sessions), m.sess)
	}
	checks := map[string]string{}
	for _, node := range nodeNames {
		if r.Node(node) != nil {
			checks[node] = ""
		}
		for _, check := range r.NodeChecks(node) {
			checks[node+"/"+check.CheckID] = check.Status
		}
	}
	if diff := cmp.Diff(m.checks, checks); diff != "" {
		t.Fatalf("nodes and checks (-twin +store):\n%s", diff)
	}
	last := max(m.kvs, m.tombs, m.sess)
	for row := range state.Indexes.All(r) {
		if row.Key == "nodes" || row.Key == "checks" {
			last = max(last, row.Value)
		}
	}
	if r.TombstoneIndex() != m.tombs || r.HasTombstones() != (len(m.stones) > 0) || r.LastIndex() != last {
		t.Fatalf("tombstone index %d, any %v, last index %d, want %d, %v, %d",
			r.TombstoneIndex(), r.HasTombstones(), r.LastIndex(), m.tombs, len(m.stones) > 0, last)
	}
}
