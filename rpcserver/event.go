package rpcserver

import (
	"strings"

	"github.com/hashicorp/serf/serf"

	"praetor/state"
	"praetor/structs"
)

// eventPrefix stands before the name of a user event in gossip.
const eventPrefix = "consul:event:"

// eventQueue is how many user events may wait for their receiver. What comes
// when it is full is dropped: gossip must not wait for anyone.
const eventQueue = 256

// eventFire gives a user event to gossip. Every server can.
func eventFire(s *Server, _ *state.Reader, q *structs.EventFireRequest, _ *structs.EventFireResponse) error {
	if q.Name == "" {
		return structs.Errorf(structs.Invalid, "Must provide event name")
	}
	if err := s.serf.UserEvent(eventPrefix+q.Name, q.Payload, false); err != nil {
		return structs.Errorf(structs.TooLarge, "cannot fire event %q: %v: name, filters and payload together must fit into one message of the gossip",
			q.Name, err)
	}
	return nil
}

// userEvent queues what gossip brought.
func (s *Server) userEvent(e serf.UserEvent) {
	if s.config.UserEvent == nil || !strings.HasPrefix(e.Name, eventPrefix) {
		return
	}
	select {
	case s.userEvents <- e:
	default:
		s.logger.Warn("user event dropped: those before it are still being looked at", "event", e.Name)
	}
}

// deliverEvents hands user events to their receiver, one after the other, until
// the server stops.
func (s *Server) deliverEvents() {
	for {
		select {
		case e := <-s.userEvents:
			event, err := structs.DecodeUserEvent(e.Payload)
			if err != nil {
				s.logger.Warn("user event dropped: it cannot be read", "event", e.Name, "error", err)
				continue
			}
			event.LTime = uint64(e.LTime)
			s.config.UserEvent(s, event)
		case <-s.ctx.Done():
			return
		}
	}
}
