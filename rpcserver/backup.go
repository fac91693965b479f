package rpcserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"praetor/fsm/archive"
	"praetor/structs"
)

// Backups keeps backups of the cluster while this server leads it.
type Backups interface {
	// Lead takes backups when they are due, until ctx ends. It does not wait
	// for a target that hangs.
	Lead(ctx context.Context, clusterID string, take func(context.Context) (*Archive, error))
	Status() structs.BackupStatus
	Run() uint64 // has one taken now, and returns its number
}

// Archive is a snapshot archive of the state, as a stream: close it. If it is
// cut short, reading ends with an error.
type Archive struct {
	io.ReadCloser
	Index uint64    // raft index that it was taken at
	State hash.Hash // SHA-256 of the snapshot stream inside, as far as it has been read
}

// StateHash is the hash of the whole state, once the archive was read to its end.
func (a *Archive) StateHash() string { return hex.EncodeToString(a.State.Sum(nil)) }

// Archive takes a snapshot of the cluster's state. Only a leader that proves it
// still is one does so: of two that take themselves for it, one cannot.
func (s *Server) Archive(ctx context.Context) (*Archive, error) {
	if err := s.proveLeadership(ctx); err != nil {
		return nil, err
	}
	if _, err := s.provenStore(ctx, false); err != nil {
		return nil, err
	}
	return s.archive()
}

// archive takes a snapshot of the state as it is here. It takes none of raft's:
// those go to disk and are synced, and whoever writes meanwhile waits for the
// disk. A view costs nothing but the rows that change while it is sent.
func (s *Server) archive() (*Archive, error) {
	view := s.fsm.View()
	if view.Index == 0 {
		return nil, structs.Errorf(structs.NotReady, "this server has no state that a snapshot could be taken of")
	}
	members := s.raft.GetConfiguration()
	if err := members.Error(); err != nil {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	var size counter // an archive begins with it, so the view is encoded twice
	if err := view.Stream(s.resting(&size)); err != nil {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	meta := &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: fmt.Sprintf("%d-%d-%d", view.Term, view.Index, time.Now().UnixMilli()),
		Index: view.Index, Term: view.Term, Size: int64(size),
		Configuration: members.Configuration(), ConfigurationIndex: members.Index(),
	}
	a := &Archive{Index: view.Index, State: sha256.New()}
	reader, writer := io.Pipe()
	a.ReadCloser = reader
	s.tasks.Go(func() {
		stop := context.AfterFunc(s.ctx, func() { reader.CloseWithError(net.ErrClosed) })
		defer stop()
		writer.CloseWithError(archive.WriteFrom(writer, meta, func(w io.Writer) error {
			return view.Stream(s.resting(io.MultiWriter(w, a.State)))
		}))
	})
	return a, nil
}

// counter is how many bytes were written to it.
type counter int64

// Write counts.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// keepBackups is the leader's duty to have backups taken.
func (s *Server) keepBackups(ctx context.Context) {
	if s.config.Backups == nil {
		return
	}
	s.config.Backups.Lead(ctx, s.fsm.Store().Read().MetadataValue(structs.ClusterIDKey), s.Archive)
}

func (s *Server) backups() (Backups, error) {
	if s.config.Backups == nil {
		return nil, structs.Errorf(structs.Unsupported, "the leader, %s, keeps no backups: set backup.target on every server", s.config.NodeName)
	}
	return s.config.Backups, nil
}

func backupStatus(_ context.Context, s *Server, _ *structs.DCSpecificRequest, reply *structs.BackupStatusReply) error {
	backups, err := s.backups()
	if err != nil {
		return err
	}
	reply.Status = backups.Status()
	reply.Status.Leader = s.config.NodeName
	s.setMeta(&reply.QueryMeta, s.fsm.Store().Epoch(), s.raft.AppliedIndex())
	return nil
}

func backupRun(s *Server, _ *structs.DCSpecificRequest, reply *structs.BackupStarted) error {
	backups, err := s.backups()
	if err != nil {
		return err
	}
	reply.Leader, reply.Attempt = s.config.NodeName, backups.Run()
	return nil
}
