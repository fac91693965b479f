package rpcserver

import (
	"cmp"
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/serf/serf"

	"praetor/state"
	"praetor/structs"
)

const (
	coordinateBatch   = 128 // coordinates in one entry of the log
	coordinateBatches = 5   // entries that are written at a time
)

// coordinates are the updates that wait to be written, on the leader.
type coordinates struct {
	mu      sync.Mutex // guards waiting
	waiting map[coordinateKey]*structs.Coordinate
}

type coordinateKey struct{ node, segment string }

// add puts an update in the place of the one before it, if that still waits.
func (u *coordinates) add(c *structs.Coordinate) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := coordinateKey{structs.FoldName(c.Node), c.Segment}
	if _, waits := u.waiting[key]; !waits && len(u.waiting) >= coordinateBatch*coordinateBatches {
		return structs.Errorf(structs.Busy, "too many coordinates at once (%d wait to be written): try again later", len(u.waiting))
	}
	if u.waiting == nil {
		u.waiting = map[coordinateKey]*structs.Coordinate{}
	}
	u.waiting[key] = c
	return nil
}

// take returns the updates, in order, and forgets them.
func (u *coordinates) take() []*structs.Coordinate {
	u.mu.Lock()
	waiting := u.waiting
	u.waiting = nil
	u.mu.Unlock()
	var all []*structs.Coordinate
	for _, c := range waiting {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *structs.Coordinate) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Segment, b.Segment))
	})
	return all
}

// coordinateUpdate keeps an update until the next time they are written.
func coordinateUpdate(s *Server, q *structs.CoordinateUpdateRequest, _ *struct{}) error {
	c := &structs.Coordinate{Node: q.Node, Segment: q.Segment, Coord: q.Coord}
	switch {
	case c.Node == "":
		return structs.Errorf(structs.Invalid, "Must provide node")
	case c.Coord == nil:
		return structs.Errorf(structs.Invalid, "Must provide coordinate")
	case !c.Coord.IsValid():
		return structs.Errorf(structs.Invalid, "invalid coordinate")
	case !c.Valid():
		return structs.Errorf(structs.Invalid, "incompatible coordinate")
	}
	if err := checkNames("node name", c.Node, "segment", c.Segment); err != nil {
		return err
	}
	return s.coordinates.add(c)
}

// writeCoordinates writes the updates that have come, from time to time, while
// we lead.
func (s *Server) writeCoordinates(ctx context.Context) {
	every := time.NewTicker(s.config.CoordinateWriteEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		batch := structs.CoordinateBatch(s.changedCoordinates(s.coordinates.take()))
		for part := range slices.Chunk(batch, coordinateBatch) {
			if _, err := s.apply(&part); err != nil && ctx.Err() == nil {
				s.logger.Warn("coordinates were not written: newer ones will come", "count", len(part), "error", err)
			}
		}
	}
}

// changedCoordinates leaves out what the state has already, so that where
// nothing moves nothing is written.
func (s *Server) changedCoordinates(all []*structs.Coordinate) []*structs.Coordinate {
	r := s.fsm.Store().Read()
	return slices.DeleteFunc(all, func(c *structs.Coordinate) bool {
		return slices.ContainsFunc(r.NodeCoordinates(c.Node), func(known *structs.Coordinate) bool { return reflect.DeepEqual(known, c) })
	})
}

// sendCoordinate tells the leader where we stand, from time to time. Servers
// take turns by chance.
func (s *Server) sendCoordinate() {
	for {
		wait := s.config.CoordinateSendEvery
		select {
		case <-time.After(wait + rand.N(wait)):
		case <-s.ctx.Done():
			return
		}
		coord, err := s.serf.GetCoordinate()
		if err == nil {
			q := structs.CoordinateUpdateRequest{Node: s.config.NodeName, Coord: coord}
			err = s.Call(s.ctx, "Coordinate.Update", &q, &struct{}{})
		}
		if err != nil && s.ctx.Err() == nil {
			s.logger.Warn("cannot tell the leader our coordinate, will try again", "error", err)
		}
	}
}

func coordinateListNodes(r *state.Reader, _ *structs.DCSpecificRequest, reply *structs.IndexedCoordinates) error {
	reply.Coordinates = r.Coordinates()
	return nil
}

func coordinateNode(r *state.Reader, q *structs.NodeSpecificRequest, reply *structs.IndexedCoordinates) error {
	if q.Node == "" {
		return structs.Errorf(structs.Invalid, "Must provide node")
	}
	reply.Coordinates = r.NodeCoordinates(q.Node)
	return nil
}

// coordinateListDatacenters answers with the coordinates of our datacenter's
// servers, as gossip has them. Where Consul means its WAN pool, there is only
// this one.
func coordinateListDatacenters(s *Server, _ *struct{}, reply *[]structs.DatacenterMap) error {
	ours := structs.DatacenterMap{Datacenter: s.config.Datacenter, AreaID: "wan", Coordinates: []*structs.Coordinate{}}
	for _, m := range s.serf.Members() {
		if _, ok := parseServer(m, s.config.Datacenter); !ok || m.Status != serf.StatusAlive || s.config.DisableCoordinates {
			continue
		}
		if coord, ok := s.serf.GetCachedCoordinate(m.Name); ok {
			ours.Coordinates = append(ours.Coordinates, &structs.Coordinate{Node: m.Name, Coord: coord})
		}
	}
	slices.SortFunc(ours.Coordinates, func(a, b *structs.Coordinate) int { return cmp.Compare(a.Node, b.Node) })
	*reply = append(*reply, ours)
	return nil
}
