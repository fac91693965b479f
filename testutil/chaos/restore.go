package chaos

import (
	"bytes"
	"context"
	"io"
	"os"

	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/rpcserver"
	"praetor/state"
	"praetor/structs"
	"praetor/testutil/history"
	"praetor/testutil/workload"
)

// savedArchive is a snapshot that an operator has saved.
type savedArchive struct {
	content []byte
	entries []history.Entry // its keys and services
}

// entriesIn are the keys and services that clients use, as they are in a state.
func entriesIn(r *state.Reader) []history.Entry {
	return append(history.EntriesOf(r.KVTree(prefix)), workload.ServiceEntries(r.AllServices())...)
}

func readArchive(content []byte) (*savedArchive, error) {
	spooled, err := archive.Spool(os.TempDir(), bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	defer spooled.Close()
	loaded, err := fsm.Load(spooled.File)
	if err != nil {
		return nil, err
	}
	return &savedArchive{content, entriesIn(loaded.Store.Read())}, nil
}

// save takes a snapshot of the cluster's state through a server.
func save(n *nemesis, f Fault) {
	for _, m := range n.targets(f) {
		n.operate(m, "save", func(ctx context.Context, s *rpcserver.Server) error {
			stream, _, err := s.SaveSnapshot(ctx, &structs.SnapshotRequest{})
			if err != nil {
				return err
			}
			defer stream.Close()
			content, err := io.ReadAll(stream)
			if err != nil {
				return err
			}
			saved, err := readArchive(content)
			if err != nil {
				n.t.Errorf("what was saved through %s cannot be read: %v", m.name(), err)
				return err
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			n.archive = saved
			return nil
		})
	}
}

// restore puts the newest archive in the place of the cluster's state, once
// there is one.
func restore(n *nemesis, f Fault) {
	n.mu.Lock()
	saved := n.archive
	n.mu.Unlock()
	if saved == nil {
		save(n, f)
		return
	}
	for _, m := range n.targets(f) {
		n.operate(m, "restore", func(ctx context.Context, s *rpcserver.Server) error {
			call := n.history.Begin(nemeses, history.Op{Kind: history.Restore, Entries: saved.entries, Server: m.name()})
			err := s.RestoreSnapshot(ctx, &structs.SnapshotRequest{}, bytes.NewReader(saved.content))
			if err != nil {
				call.Unknown()
				return err
			}
			call.Done(history.Result{})
			return nil
		})
	}
}
