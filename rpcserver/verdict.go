package rpcserver

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	gometrics "github.com/hashicorp/go-metrics/compat"
	"github.com/hashicorp/raft"

	"praetor/structs"
)

// verdict is what the hashes of all servers say of ours.
type verdict int

const (
	undecided verdict = iota // too few have answered
	agreed                   // more than half of all servers have our hash
	wrong                    // more than half of all servers have another one
	disputed                 // hashes differ, and no half of them is in the majority
)

// judge compares our hash with those of others, of so many servers in all, those
// that did not answer among them. Servers of another build do not count: the two
// may have written something differently on purpose.
func judge(ours structs.StateHash, others []structs.StateHash, servers int) verdict {
	votes := map[string]int{string(ours.Hash): 1}
	for _, other := range others {
		if other.Build == ours.Build && other.Index == ours.Index {
			votes[string(other.Hash)]++
		}
	}
	for hash, n := range votes {
		switch {
		case 2*n <= servers:
		case hash == string(ours.Hash):
			return agreed
		default:
			return wrong
		}
	}
	if len(votes) > 1 {
		return disputed
	}
	return undecided
}

// opinion is the hash of another server.
type opinion struct {
	raft.Server
	structs.StateHash
	err error
}

// compare asks all other servers for their hashes at the same entry, and acts on
// what they say of ours. It does not wait for the last one if ours is wrong.
func (s *Server) compare(ours structs.StateHash, patience time.Duration) {
	servers, err := s.otherServers()
	if err != nil || len(servers) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	answers := make(chan opinion, len(servers))
	for _, server := range servers {
		s.tasks.Go(func() {
			o := opinion{Server: server}
			o.err = s.askForHash(ctx, server, ours.Index, &o.StateHash)
			answers <- o
		})
	}
	var opinions []opinion
	var hashes []structs.StateHash
	result := undecided
	for range servers {
		if o := <-answers; o.err == nil {
			opinions, hashes = append(opinions, o), append(hashes, o.StateHash)
		}
		if result = judge(ours, hashes, len(servers)+1); result == wrong {
			break
		}
	}
	if s.ctx.Err() == nil {
		s.conclude(ours, opinions, result)
	}
}

// conclude acts on a verdict.
func (s *Server) conclude(ours structs.StateHash, opinions []opinion, result verdict) {
	var differ []raft.Server
	for _, o := range opinions {
		if o.Build == ours.Build && !bytes.Equal(o.Hash, ours.Hash) {
			differ = append(differ, o.Server)
		}
	}
	s.verifier.count(ours.Index, result)
	switch result {
	case undecided:
		s.logger.Debug("too few servers have hashed their states to tell anything", "entry", ours.Index)
	case agreed:
		gometrics.IncrCounter([]string{"state", "agreed"}, 1)
		if len(differ) > 0 {
			s.logger.Error("servers have another state than this one and the majority: they go into quarantine", "servers", s.names(differ), "entry", ours.Index)
		}
	case disputed:
		gometrics.IncrCounter([]string{"state", "disputed"}, 1)
		s.logger.Error("servers have different states, and no majority tells which one is right: none goes into quarantine, and any of them may "+
			"serve what was never written. Save a snapshot of each (praetor snapshot save -stale) and compare them (praetor snapshot diff); then "+
			"stop the one that is wrong, move its raft directory away and start it again", "this", s.config.NodeName, "other", s.names(differ), "entry", ours.Index)
	case wrong:
		good := majority(opinions, ours.Build)
		s.quarantine(ours.Index, fmt.Sprintf("its state at entry %d differs from that of %s, which agree", ours.Index, s.names(good)), good)
	}
}

// majority are those of the others who have the hash that most of them have.
func majority(opinions []opinion, build string) (most []raft.Server) {
	votes := map[string][]raft.Server{}
	for _, o := range opinions {
		if o.Build != build {
			continue
		}
		hash := string(o.Hash)
		if votes[hash] = append(votes[hash], o.Server); len(votes[hash]) > len(most) {
			most = votes[hash]
		}
	}
	return most
}

// askForHash asks one server until it has the hash, or never will.
func (s *Server) askForHash(ctx context.Context, server raft.Server, index uint64, reply *structs.StateHash) error {
	addr := string(server.Address)
	if m, ok := s.members.byID(string(server.ID)); ok {
		addr = m.addr
	}
	for {
		conn, err := s.pool.Get(ctx, addr)
		if err == nil {
			err = conn.Call(ctx, "Praetor.StateHash", &structs.StateHashRequest{Datacenter: s.config.Datacenter, Index: index}, reply)
		}
		switch structs.CodeOf(err) {
		case structs.NotReady, structs.Unreachable, structs.Unclear, structs.Leaving:
		default:
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// otherServers are those in raft's configuration, those without a vote too: what
// they have computed counts as much.
func (s *Server) otherServers() (others []raft.Server, err error) {
	future := s.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, err
	}
	for _, server := range future.Configuration().Servers {
		if string(server.ID) != s.config.NodeID {
			others = append(others, server)
		}
	}
	return others, nil
}

// names are servers for people.
func (s *Server) names(servers []raft.Server) string {
	var names []string
	for _, server := range servers {
		name := string(server.ID)
		if m, ok := s.members.byID(name); ok {
			name = m.name
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
