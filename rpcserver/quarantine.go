package rpcserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	gometrics "github.com/hashicorp/go-metrics/compat"
	"github.com/hashicorp/raft"

	"praetor/structs"
)

// A server in quarantine knows that its state is wrong. It has thrown the state
// away, answers no request and does not lead. Its log is right, so it goes on
// storing entries and votes for others: their majority needs that as much as
// before. It gets the state from the leader again (readmission.go).
//
// A file in the raft directory keeps it there across restarts: the snapshots on
// its disk may be of the wrong state.
type quarantine struct {
	Index  uint64 // entry at which the states differed
	Since  time.Time
	Reason string
}

// openInQuarantine are the methods that tell nothing of the state.
var openInQuarantine = map[string]bool{
	"Status.Ping": true, "Status.Leader": true, "Status.Peers": true, "Status.RaftStats": true,
	"Internal.KeyringOperation": true,
}

// handoverWithin is how long a leader in quarantine tries to hand over.
const handoverWithin = 5 * time.Second

// quarantineError says why this server answers nothing; nil if it does.
func (s *Server) quarantineError() error {
	q := s.quarantined.Load()
	if q == nil {
		return nil
	}
	return structs.Errorf(structs.Quarantined, "server %s is in quarantine since %s: %s. It answers nothing until it has the leader's state: ask another server",
		s.config.NodeName, q.Since.UTC().Format(time.RFC3339), q.Reason)
}

// quarantine takes this server out of service until it has another state, which
// good servers have. It returns when that is done or the server stops.
func (s *Server) quarantine(index uint64, reason string, good []raft.Server) {
	q := &quarantine{Index: index, Since: time.Now(), Reason: reason}
	if !s.quarantined.CompareAndSwap(nil, q) {
		return
	}
	gometrics.IncrCounter([]string{"state", "quarantined"}, 1)
	s.logger.Error("this server's state is wrong: it goes into quarantine, answers nothing and gets the state again", "reason", reason)
	if err := s.writeQuarantine(q); err != nil {
		s.logger.Error("cannot note the quarantine: it ends with the next restart", "error", err)
	}
	s.leader.fire()
	s.giveUpLeadership(good)
	s.fsm.Drop()
	s.readmit()
}

// giveUpLeadership hands leadership to one of the servers, if this one has it. If
// none takes it, this server falls silent, so that another one is elected.
func (s *Server) giveUpLeadership(good []raft.Server) {
	end := time.Now().Add(handoverWithin)
	for _, server := range good {
		if server.Suffrage != raft.Voter {
			continue
		}
		if s.raft.State() != raft.Leader || time.Now().After(end) {
			break
		}
		if err := s.raft.LeadershipTransferToServer(server.ID, server.Address).Error(); err != nil {
			s.logger.Warn("could not hand over leadership", "to", s.names([]raft.Server{server}), "error", err)
		}
	}
	s.muzzled.Store(true)
	for s.raft.State() == raft.Leader && s.ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
}

// quarantineFile is where the quarantine is noted; "" in memory.
func (s *Server) quarantineFile() string {
	if s.config.DataDir == "" {
		return ""
	}
	return filepath.Join(s.config.DataDir, "raft", "quarantine.json")
}

func (s *Server) writeQuarantine(q *quarantine) error {
	name := s.quarantineFile()
	if name == "" {
		return nil
	}
	text, err := json.Marshal(q)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes what was renamed or removed in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readQuarantine puts the server into the quarantine that is noted on disk.
func (s *Server) readQuarantine() error {
	name := s.quarantineFile()
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil
	}
	q := &quarantine{Reason: "its state was wrong when it stopped", Since: time.Now()}
	if err != nil {
		return fmt.Errorf("cannot tell whether this server is in quarantine: %w", err)
	}
	if err := json.Unmarshal(text, q); err != nil {
		s.logger.Warn("cannot read what is noted of the quarantine", "file", name, "error", err)
	}
	s.quarantined.Store(q)
	s.muzzled.Store(true)
	return nil
}

// resumeQuarantine goes on with a quarantine that was noted on disk: what raft
// has restored from there may be wrong.
func (s *Server) resumeQuarantine() {
	q := s.quarantined.Load()
	if q == nil {
		return
	}
	s.logger.Error("this server is in quarantine from before: it answers nothing until it has the leader's state. "+
		"If there is no other server left, remove the file to serve what is here", "reason", q.Reason, "file", s.quarantineFile())
	s.fsm.Drop()
	s.tasks.Go(s.readmit)
}

// reportQuarantine keeps the gauge.
func (s *Server) reportQuarantine() {
	every := time.NewTicker(gaugeEvery)
	defer every.Stop()
	for {
		value := float32(0)
		if s.quarantined.Load() != nil {
			value = 1
		}
		gometrics.SetGauge([]string{"state", "quarantine"}, value)
		select {
		case <-every.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// Verified counts the comparisons of states since the start: those in which a
// majority had ours, those that nobody could decide, and those in which ours was
// wrong.
func (s *Server) Verified() (agreeing, undecidable, differing uint64) {
	s.verifier.mu.Lock()
	defer s.verifier.mu.Unlock()
	return s.verifier.results[agreed], s.verifier.results[disputed], s.verifier.results[wrong]
}

// verifyStats are figures about comparisons for people.
func (s *Server) verifyStats() map[string]string {
	v := &s.verifier
	v.mu.Lock()
	defer v.mu.Unlock()
	stats := map[string]string{
		"enabled":             strconv.FormatBool(s.config.VerifyState),
		"last_compared_index": strconv.FormatUint(v.compared, 10),
		"agreed":              strconv.FormatUint(v.results[agreed], 10),
		"disputed":            strconv.FormatUint(v.results[disputed], 10),
		"quarantines":         strconv.FormatUint(v.results[wrong], 10),
		"quarantine":          "",
	}
	if q := s.quarantined.Load(); q != nil {
		stats["quarantine"] = q.Reason
	}
	return stats
}
