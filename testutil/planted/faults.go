package main

// faults are planted in this order. Each breaks a promise of docs/reliability.md,
// in the way that somebody in a hurry might.
var faults = []fault{
	{"record-not-synced", "terms, votes and cuts of the log are acknowledged before they are on disk", []edit{{
		"rpcserver/logstore/book.go", `
	if err := b.file.Sync(); err != nil {
		return err
	}
	b.record = r`, `
	b.record = r`,
	}}},
	{"entries-not-synced", "entries are acknowledged before they are on disk", []edit{{
		"rpcserver/logstore/bolt.go", `raftboltdb.Options{Path: file, `, `raftboltdb.Options{Path: file, NoSync: true, `,
	}}},
	{"vote-not-kept", "a vote is kept in memory only", []edit{{
		"rpcserver/logstore/store.go",
		`	return s.set(func(v *votes) { v.candidate = string(value) }, func() error { return s.inner.Set(key, value) })`,
		`	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes.candidate = string(value)
	return nil`,
	}}},
	{"seal-not-checked", "an entry is taken from the log whatever its checksum", []edit{{
		"rpcserver/logstore/seal.go", `case sealed != fits, !sealed && index >= since:`, `case fits && !sealed, !sealed && index >= since:`,
	}}},

	{"acknowledged-early", "a write that takes longer than a second is acknowledged before it is committed", []edit{{
		"rpcserver/route.go", `
		return future.Error()
	})`, `
		committed := make(chan error, 1)
		go func() { committed <- future.Error() }()
		select {
		case err := <-committed:
			return err
		case <-time.After(time.Second):
			return nil
		}
	})`,
	}}},
	{"unclear-as-failed", "a write whose outcome is unclear is said to have done nothing", []edit{{
		"rpcserver/route.go", `structs.Errorf(structs.Unclear, "raft apply failed`, `structs.Errorf(structs.Busy, "raft apply failed`,
	}}},
	{"unclear-tried-again", "a write whose outcome is unclear is made again", []edit{{
		"rpcserver/route.go", `
	case structs.Unclear:
		return c.read != nil`, `
	case structs.Unclear:
		return true`,
	}}},

	{"leadership-not-proven", "consistent reads do not ask the others whether this server still leads (VerifyLeader)", []edit{{
		"rpcserver/proof.go", `return s.raft.VerifyLeader().Error()`, `return nil`,
	}}},
	{"not-ready", "a new leader serves before it has applied what was committed before", []edit{{
		"rpcserver/route.go", `		if !s.ready() {`, `		if s.awaiting.Load() {`,
	}, { // and its proof asks for no more, or no read would get so far
		"rpcserver/proof.go", `!s.ready() || `, ``,
	}}},
	{"follower-answers", "followers answer default reads from their own state", []edit{{
		"rpcserver/route.go", `c.read.AllowStale && s.heardFromLeader()`, `!c.read.RequireConsistent && s.heardFromLeader()`,
	}}},
	{"answer-over-answer", "a read that is asked again elsewhere is decoded over its first answer, whose rows are those of the state", []edit{{
		"rpcserver/route.go", `	reflect.ValueOf(c.reply).Elem().SetZero()`, `	_ = reflect.ValueOf`,
	}, {
		"structs/kv_pack.go", `				d.Entries = nil
`, ``,
	}}},
	{"change-not-noticed", "a read of one key does not watch it, so that a blocking query sleeps on", []edit{{
		"state/table.go", `	r.watch(must(watch, err))`, `	must(watch, err)`,
	}}},
	{"tombstone-lost", "a deleted key leaves no tombstone: the index of its prefix goes back", []edit{{
		"state/kv.go", `		w.bury(name, lockOn(before))`, ``,
	}}},
	{"index-back-after-restore", "after a restore the index of a reply is that of the old rows", []edit{{
		"rpcserver/blocking.go", `max(index, epoch.Floor, 1)`, `max(index, 1)`,
	}}},

	{"cas-any-index", "compare-and-set ignores the index", []edit{{
		"state/kv.go", `	if entry.ModifyIndex != index {`, `	if entry.ModifyIndex == 0 && index != 0 {`,
	}}},
	{"refused-leaves-traces", "a transaction that was refused is not taken back", []edit{{
		"state/txn.go", `	if len(reply.Errors) > 0 {
		w.Undo()
	}
`, ``,
	}}},
	{"lock-taken-twice", "a lock is given to a second session while the first one has it", []edit{{
		"state/lock.go", `	case !sameSession(l.session, session.ID):
		return false, nil
	}`, `	case !sameSession(l.session, session.ID):
		l = lock{session: session.ID, index: l.index + 1}
	}`,
	}}},
	{"lock-released-twice", "a session releases a lock that is another one's by now", []edit{{
		"state/lock.go", `before == nil || !sameSession(before.Session, entry.Session)`, `before == nil || before.Session == ""`,
	}}},
	{"session-keeps-locks", "a session that has ended keeps its locks", []edit{{
		"state/session.go", `		w.loseLock(held, s)`, `		_ = held`,
	}}},
	{"fence-any-index", "a fence is passed under any holder of the lock", []edit{{
		"state/lock.go", `	case row.LockIndex != f.LockIndex:`, `	case row.LockIndex < f.LockIndex:`,
	}}},

	{"snapshot-without-sessions", "a snapshot leaves out the sessions", []edit{{
		"fsm/records.go", `	rows(structs.SessionRequestType, state.Sessions, func(s *structs.Session) uint64 { return s.ModifyIndex }),
`, ``,
	}}},
	{"snapshot-without-flags", "the flags of keys are lost where a snapshot is read", []edit{{
		"state/kv.go", `	row.TTLIndex = 0
`, `	row.TTLIndex, row.Flags = 0, 0
`,
	}}},
	{"feed-skips", "a feed that goes on where a connection broke skips an index", []edit{{
		"rpcserver/feed.go", `store.Follow(f.prefix, f.at)`, `store.Follow(f.prefix, structs.After(f.at.Index+1))`,
	}}},
	{"map-order", "what one command deletes is told in the order of a map", []edit{{
		"state/kv.go", `
	for _, entry := range found {
		if l :=`, `
	unordered := map[string]*structs.DirEntry{}
	for _, entry := range found {
		unordered[entry.Key] = entry
	}
	for _, entry := range unordered {
		if l :=`,
	}}},
	{"clock-under-apply", "each server's clock has a say in how long a lock delay is", []edit{{
		"state/lock.go", `l.delay, l.delayIndex = delay, w.index`, `l.delay, l.delayIndex = delay-time.Duration(time.Now().Nanosecond()), w.index`,
	}}},

	{"tree-tells-nobody", "who waits for keys under a prefix is not told of a change there", []edit{{
		"state/iradix/txn.go", `	t.changed(&n.below)
	return &node{owner`, `	return &node{owner`,
	}}},
	{"tree-written-in-place", "a transaction changes tree nodes of the one before, which readers have", []edit{{
		"state/iradix/txn.go", `	if n.owner == t.owner {
		return n
	}
	t.changed`, `	if n.owner+1 >= t.owner {
		return n
	}
	t.changed`,
	}}},
	{"tree-walk-not-kept", "who goes through a table and changes it meanwhile sees the changes", []edit{{
		"state/iradix/txn.go", `	t.from.owner, t.from = 0, nil`, `	t.from = nil`,
	}}},
	{"leader-takes-itself-out", "a leader that is taken out of raft does that itself", []edit{{
		"rpcserver/operator.go", `		return s.askNextLeader()`, `		_ = s.askNextLeader`,
	}}},
}
