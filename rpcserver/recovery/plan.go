package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"praetor/rpcserver"
	"praetor/structs"
)

// Options are what an operator decides.
type Options struct {
	Choose    string            // id of the server whose data counts; "" is the best one
	Addresses map[string]string // host:port of servers that have moved, by id

	// AcceptLosing is how many entries may be lost that could be kept. It must
	// be the very number, so that nobody gives it without having read it.
	AcceptLosing uint64

	// Majority goes on although the servers that are left could elect a leader.
	Majority bool
}

// Plan is how a cluster is to go on.
//
// The server whose data counts is the only one in the new configuration with a
// vote, beside those that have exactly the same: so it, or one that is as good,
// leads, whichever server starts first. Autopilot gives the others their vote
// back once they have caught up.
type Plan struct {
	Survivors []*Survivor
	Best      *Survivor // has most; nil if none is fit to live on
	Chosen    *Survivor // the one whose data counts
	Peers     []Peer    // the new configuration
	Gone      []Server  // servers of the old one that were not given
	Voters    int       // of the old configuration
	Left      int       // voters of it that were given and are fit to live on
	Losing    uint64    // entries that are on a survivor and will be lost
}

// Peer is a line of peers.json.
type Peer struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	NonVoter bool   `json:"non_voter"`
}

// New makes a plan. With an error, which refuses it, the plan holds what was
// found out before.
func New(survivors []*Survivor, o Options) (*Plan, error) {
	p := &Plan{Survivors: survivors}
	if err := p.sameCluster(); err != nil {
		return p, err
	}
	if err := p.choose(o); err != nil {
		return p, err
	}
	if err := p.members(o); err != nil {
		return p, err
	}
	if p.Left > p.Voters/2 && !o.Majority {
		return p, structs.Errorf(structs.Conflict, "%d of the %d voters are left, which is a majority: start them, they elect a leader by themselves "+
			"and nothing is lost. If they cannot, say -even-with-a-majority", p.Left, p.Voters)
	}
	if p.Losing != o.AcceptLosing {
		return p, p.losing(o)
	}
	return p, nil
}

func (p *Plan) losing(o Options) error {
	if p.Losing == 0 {
		return structs.Errorf(structs.Invalid, "nothing is lost that could be kept: leave out -i-accept-losing-entries=%d", o.AcceptLosing)
	}
	most := p.most()
	reason := "is behind it"
	if o.Choose == "" {
		reason = "is the best of those that are not damaged"
	}
	return structs.Errorf(structs.Conflict, "%s has %d entries that %s has not, which %s: writes in them may have been acknowledged and would be lost. "+
		"To lose them, say -i-accept-losing-entries=%d", most.Name(), p.Losing, p.Chosen.Name(), reason, p.Losing)
}

// sameCluster refuses servers that do not belong together.
func (p *Plan) sameCluster() error {
	if len(p.Survivors) == 0 {
		return structs.Errorf(structs.Invalid, "no data directory was given")
	}
	seen := map[string]*Survivor{}
	first := p.Survivors[0]
	for _, s := range p.Survivors {
		if s.ID == "" {
			return structs.Errorf(structs.Invalid, "%s has no file node-id, so its server is nobody to the others: write its id into it if you know it", s.Where())
		}
		if other := seen[s.ID]; other != nil {
			return structs.Errorf(structs.Invalid, "%s and %s are the same server, %s: give the one that it is to go on with", other.Where(), s.Where(), s.ID)
		}
		seen[s.ID] = s
		if first.Cluster == "" {
			first = s
		}
		if s.Cluster != "" && s.Cluster != first.Cluster {
			return structs.Errorf(structs.Conflict, "%s is of cluster %s, %s of cluster %s: recover them apart", first.Where(), first.Cluster, s.Where(), s.Cluster)
		}
	}
	for _, a := range p.Survivors {
		for _, b := range p.Survivors {
			if index := a.contradicts(b); index != 0 {
				return structs.Errorf(structs.Conflict, "%s and %s have different entries %d that are both committed: they are not of one cluster",
					a.Where(), b.Where(), index)
			}
		}
	}
	return nil
}

// contradicts finds an index that both have in a snapshot, in different terms.
func (s *Survivor) contradicts(o *Survivor) uint64 {
	at := min(s.committed(), o.committed())
	if a, b := s.termAt(at), o.termAt(at); at > 0 && a != 0 && b != 0 && a != b {
		return at
	}
	return 0
}

// choose finds the best survivor and the one whose data counts.
func (p *Plan) choose(o Options) error {
	for _, s := range p.Survivors {
		if s.Fit && (p.Best == nil || s.ahead(p.Best) || !p.Best.ahead(s) && s.votes() && !p.Best.votes()) {
			p.Best = s
		}
	}
	if p.Best == nil {
		return structs.Errorf(structs.Corrupt, "no server is left whose data is whole: start a new cluster from a backup")
	}
	p.Chosen = p.Best
	if o.Choose != "" {
		i := slices.IndexFunc(p.Survivors, func(s *Survivor) bool { return s.ID == strings.ToLower(o.Choose) })
		if i < 0 {
			return structs.Errorf(structs.Invalid, "%s is not among the servers that were given", o.Choose)
		}
		if p.Chosen = p.Survivors[i]; !p.Chosen.Fit {
			return structs.Errorf(structs.Corrupt, "%s cannot be chosen, its data is damaged: %s", p.Chosen.Name(), p.Chosen.Damage[len(p.Chosen.Damage)-1])
		}
	}
	if most := p.most(); most.ahead(p.Chosen) {
		p.Losing = most.beyond(p.Chosen)
	}
	return nil
}

// most is the survivor with most entries, be it damaged or not.
func (p *Plan) most() *Survivor {
	return slices.MaxFunc(p.Survivors, func(a, b *Survivor) int {
		switch {
		case a.ahead(b):
			return 1
		case b.ahead(a):
			return -1
		}
		return 0
	})
}

// ahead says whether s has all that may be committed of what o has, and more:
// raft elects by the same rule.
func (s *Survivor) ahead(o *Survivor) bool {
	return s.LastTerm > o.LastTerm || s.LastTerm == o.LastTerm && s.LastIndex > o.LastIndex
}

// votes says whether the server has a vote, as far as it knows itself.
func (s *Survivor) votes() bool {
	return slices.ContainsFunc(s.Servers, func(server Server) bool { return server.ID == s.ID && server.Voter })
}

// beyond counts the entries of s that o has not. Two logs are the same up to
// the last index at which their terms are equal (raft's log matching).
func (s *Survivor) beyond(o *Survivor) uint64 {
	low := min(s.committed(), o.committed())
	for index := min(s.LastIndex, o.LastIndex); index > low; index-- {
		if a := s.termAt(index); a != 0 && a == o.termAt(index) {
			return s.LastIndex - index
		}
	}
	if s.committed() > o.LastIndex { // nothing to compare by
		return s.LastIndex - min(o.LastIndex, s.LastIndex)
	}
	return s.LastIndex - low
}

// members makes the new configuration out of the chosen one's.
func (p *Plan) members(o Options) error {
	for id := range o.Addresses {
		if !slices.ContainsFunc(p.Survivors, func(s *Survivor) bool { return s.ID == id }) {
			return structs.Errorf(structs.Invalid, "-address names %s, which is not among the servers that were given", id)
		}
	}
	known := map[string]Server{}
	for _, server := range p.Chosen.Servers {
		known[server.ID] = server
		if server.Voter {
			p.Voters++
		}
		given := slices.IndexFunc(p.Survivors, func(s *Survivor) bool { return s.ID == server.ID })
		if given < 0 {
			p.Gone = append(p.Gone, server)
		} else if server.Voter && p.Survivors[given].Fit {
			p.Left++
		}
	}
	voterFit := slices.ContainsFunc(p.Survivors, func(s *Survivor) bool { return s.Fit && known[s.ID].Voter })
	for _, s := range p.Survivors {
		server, ok := known[s.ID]
		if !ok {
			return structs.Errorf(structs.Conflict, "%s is not in the raft configuration of %s, so it is not a member of the cluster (any more): "+
				"leave it out, and let it join with an empty data directory once the cluster is back", s.Name(), p.Chosen.Name())
		}
		if !s.Fit {
			continue
		}
		address := server.Address
		if moved := o.Addresses[s.ID]; moved != "" {
			address = moved
		}
		equal := s.LastIndex == p.Chosen.LastIndex && s.LastTerm == p.Chosen.LastTerm
		p.Peers = append(p.Peers, Peer{ID: s.ID, Address: address,
			NonVoter: s != p.Chosen && !(equal && (server.Voter || !voterFit))})
	}
	return nil
}

// JSON is peers.json.
func (p *Plan) JSON() string {
	lines := make([]string, len(p.Peers))
	for i, peer := range p.Peers {
		line, err := json.Marshal(peer)
		if err != nil {
			panic("recovery: " + err.Error()) // three plain fields
		}
		lines[i] = "  " + string(line)
	}
	return "[\n" + strings.Join(lines, ",\n") + "\n]\n"
}

// Write writes peers.json into the data directories that are on this machine
// and fit to live on. Their servers take it over when they start next.
func (p *Plan) Write() error {
	var failed []error
	for _, s := range p.Local() {
		err := error(nil)
		if _, statErr := os.Stat(filepath.Join(s.Dir, "raft", "peers.info")); errors.Is(statErr, fs.ErrNotExist) { // without it peers.json is deleted unread
			err = s.dir.write("peers.info", rpcserver.PeersInfo)
		}
		if err == nil {
			err = s.dir.write("peers.json", p.JSON())
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("write %s: %w", s.PeersFile(), err))
		}
	}
	return errors.Join(failed...)
}

// Local are the survivors that Write writes to.
func (p *Plan) Local() (list []*Survivor) {
	for _, s := range p.Survivors {
		if s.Fit && s.dir != nil {
			list = append(list, s)
		}
	}
	return list
}

// PeersFile is where the server looks for its new configuration.
func (s *Survivor) PeersFile() string {
	dir := s.Dir
	if !s.Remote() {
		dir = s.dir.path
	}
	return filepath.Join(dir, "raft", "peers.json")
}

// Remote says that the survivor is known from a report.
func (s *Survivor) Remote() bool { return s.dir == nil }

// Where is the data directory as it was given, or on which host it is.
func (s *Survivor) Where() string {
	if s.Remote() {
		return s.Host + ":" + s.Dir
	}
	return s.dir.path
}

// Name is what people know the server by.
func (s *Survivor) Name() string { return "server " + s.ID }
