package rpcserver

import (
	"context"
	"io"
	"time"

	"praetor/structs"
)

// StartFrom gives a server that was started with Config.AwaitState the state of
// an archive, as soon as it leads; ctx bounds how long it may take until then.
// Before that the server answers no request and lets no other server into its
// cluster: nobody reads the empty state, and nothing is written that the archive
// would replace. After an error it goes on to serve nobody.
func (s *Server) StartFrom(ctx context.Context, archive io.Reader) error {
	for !s.established() {
		select {
		case <-s.leaderChanged():
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return structs.Errorf(structs.NoLeader, "this server does not lead: is there a cluster already that it has joined?")
		case <-s.ctx.Done():
			return errStopping
		}
	}
	if _, err := s.restoreHere(archive, false); err != nil {
		return err
	}
	s.awaiting.Store(false)
	return s.reestablish() // with the others in
}
