package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// Survivor is what a data directory says about its server and its cluster. As
// JSON it travels from machine to machine.
type Survivor struct {
	Host string
	Dir  string // on that host, absolute

	ID      string // the server's; "" if the directory does not say
	Cluster string // the cluster's id; "" if it is not known

	Term      uint64    // the last that the server has heard of
	LastTerm  uint64    // of the last entry that the server has, in its log or in a snapshot
	LastIndex uint64    // of that entry
	LastTime  time.Time // when the leader of that time appended it; zero if that is not known

	Snapshots   []Snapshot // the good ones, newest first
	Terms       []Run      // the terms of the log's entries
	Servers     []Server   // the raft configuration
	ServersFrom uint64     // index of the entry that set it

	// Damage says what cannot be read. A server with damage that its log cannot
	// be played over is not fit to live on: LastIndex is that of the last entry
	// before it.
	Damage []string
	Fit    bool

	dir *directory // nil if it comes from a report
}

// Run is a run of entries of one term.
type Run struct{ First, Last, Term uint64 }

// Server is one server of a raft configuration.
type Server struct {
	ID, Address string
	Voter       bool
}

func serversOf(c raft.Configuration) []Server {
	var servers []Server
	for _, s := range c.Servers {
		servers = append(servers, Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return servers
}

// Read reads a data directory and keeps it locked until Close, so that no
// server starts on it meanwhile.
func Read(dataDir string) (s *Survivor, err error) {
	dir, err := lock(dataDir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			dir.close()
		}
	}()
	s = &Survivor{Fit: true, dir: dir}
	if s.Dir, err = filepath.Abs(dir.path); err != nil {
		return nil, err
	}
	s.Host, _ = os.Hostname()
	id, err := os.ReadFile(filepath.Join(dir.path, "node-id"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.ID = strings.ToLower(strings.TrimSpace(string(id)))
	if err := s.readState(); err != nil {
		return nil, err
	}
	if s.LastIndex == 0 && len(s.Damage) == 0 {
		return nil, structs.Errorf(structs.NotFound, "%s holds no state: its server has never been a member of a cluster", dataDir)
	}
	return s, nil
}

// readState reads snapshots, then the log over them, as raft does.
func (s *Survivor) readState() error {
	var reached uint64
	var err error
	if s.Snapshots, s.Damage, reached, err = readSnapshots(filepath.Join(s.dir.path, "raft")); err != nil {
		return err
	}
	if len(s.Snapshots) > 0 {
		newest := s.Snapshots[0]
		s.LastIndex, s.LastTerm, s.Cluster = newest.Index, newest.Term, newest.cluster
		s.Servers, s.ServersFrom = newest.servers, newest.serversFrom
	}
	log, err := OpenLog(s.dir.path)
	if structs.IsCode(err, structs.Corrupt) {
		s.Damage, s.Fit = append(s.Damage, err.Error()), false
		return nil
	}
	if err != nil {
		return err
	}
	defer log.Close()
	if log.Damage != nil {
		s.Damage, s.Fit = append(s.Damage, log.Damage.Error()), false
	}
	s.Term = log.Term
	base := s.LastIndex
	for stretch := range log.Entries(0, log.Last) {
		if e := stretch.Entry; e != nil {
			s.note(e, base)
			continue
		}
		what := "is missing"
		if stretch.Damage != "" {
			what = "is damaged: " + stretch.Damage
		} else if stretch.Last <= base {
			continue // a snapshot from the leader was put over it
		}
		s.Damage = append(s.Damage, fmt.Sprintf("log entry %s %s", span(stretch.First, stretch.Last), what))
		if stretch.Last > base {
			s.Fit = false
			break
		}
	}
	if s.Fit && log.First > base+1 {
		s.Damage, s.Fit = append(s.Damage, fmt.Sprintf("the log begins at entry %d, but there is no good snapshot of what was before it", log.First)), false
	}
	if reached = max(reached, log.Reached); s.Fit && reached > s.LastIndex {
		s.Damage, s.Fit = append(s.Damage, fmt.Sprintf("log entry %s is lost: the server had come to that", span(s.LastIndex+1, reached))), false
	}
	return nil
}

// note takes in one entry of the log.
func (s *Survivor) note(e *raft.Log, base uint64) {
	if n := len(s.Terms); n > 0 && s.Terms[n-1].Term == e.Term && s.Terms[n-1].Last+1 == e.Index {
		s.Terms[n-1].Last = e.Index
	} else {
		s.Terms = append(s.Terms, Run{First: e.Index, Last: e.Index, Term: e.Term})
	}
	if e.Index == base {
		s.LastTime = e.AppendedAt
	}
	if e.Index <= base {
		return
	}
	s.LastIndex, s.LastTerm, s.LastTime = e.Index, e.Term, e.AppendedAt
	switch e.Type {
	case raft.LogConfiguration:
		var c raft.Configuration
		if guard(func() error { c = raft.DecodeConfiguration(e.Data); return nil }) == nil {
			s.Servers, s.ServersFrom = serversOf(c), e.Index
		}
	case raft.LogCommand:
		if len(e.Data) == 0 || structs.MessageType(e.Data[0]) != structs.SystemMetadataRequestType {
			return
		}
		if m, ok := decode(e.Data).(*structs.MetadataRequest); ok && m.Op == structs.MetadataUpsert && m.Entry != nil && m.Entry.Key == structs.ClusterIDKey {
			s.Cluster = m.Entry.Value
		}
	}
}

// termAt is the term of the entry at an index, 0 if the server does not know it.
func (s *Survivor) termAt(index uint64) uint64 {
	for _, r := range s.Terms {
		if r.First <= index && index <= r.Last {
			return r.Term
		}
	}
	for _, snapshot := range s.Snapshots {
		if snapshot.Index == index {
			return snapshot.Term
		}
	}
	return 0
}

// committed is an index up to which the cluster had certainly committed: that
// of the newest snapshot.
func (s *Survivor) committed() uint64 {
	if len(s.Snapshots) == 0 {
		return 0
	}
	return s.Snapshots[0].Index
}

// Close unlocks the data directory.
func (s *Survivor) Close() {
	if s.dir != nil {
		s.dir.close()
	}
}

func span(first, last uint64) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d to %d", first, last)
}
