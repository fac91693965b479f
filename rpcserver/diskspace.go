package rpcserver

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-metrics/compat"

	"praetor/structs"
)

// diskLook is how often the free space of the data directory is looked at.
const diskLook = 2 * time.Second

// diskSpace says whether the leader may take writes. A disk that is full to the
// last byte stops raft in the middle of its work, snapshots and what they free
// included; below a reserve only what callers want to write is refused.
type diskSpace struct {
	mu      sync.Mutex // guards the field below
	refusal error      // nil while there is room
}

// watchDisk looks at the free space until the server stops.
func (s *Server) watchDisk() {
	every := time.NewTicker(diskLook)
	defer every.Stop()
	blind := false
	for {
		free, err := s.config.DiskFree(s.config.DataDir)
		if err != nil && !blind {
			s.logger.Warn("cannot tell how much disk space is free: limits.disk_reserve_mb has no effect meanwhile", "error", err)
		}
		if blind = err != nil; blind {
			free = 1 << 62
		}
		s.noteFree(free)
		for name, v := range s.Alarms() {
			metrics.SetGauge(strings.Split(name, "."), v)
		}
		select {
		case <-every.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// Alarms are what an operator should hear of, by the names of the gauges that
// docs/recovery.md explains. The server has a data directory.
func (s *Server) Alarms() map[string]float32 {
	limit := s.config.Raft.StallLimit
	return map[string]float32{
		"disk.full":          flag(s.room() != nil),
		"disk.frozen":        flag(limit > 0 && s.disk.longest() > limit),
		"raft.log.damaged":   float32(s.store.Damages()),
		"raft.log.repairing": flag(s.repairing()),
	}
}

func flag(is bool) float32 {
	if is {
		return 1
	}
	return 0
}

// noteFree takes in how many bytes are free. Writes that were refused are taken
// again once there is an eighth more than the reserve, so that the answer does
// not change with every file that comes and goes.
func (s *Server) noteFree(free uint64) {
	reserve := uint64(s.limits.Load().DiskReserve)
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	was := s.space.refusal != nil
	switch {
	case free < reserve, was && free < reserve+reserve/8:
		s.space.refusal = structs.Errorf(structs.DiskFull, "the leader %s is short of disk space: %s free for %s, the reserve is %s "+
			"(limits.disk_reserve_mb). Nothing was written; reads go on, and writes will when there is space",
			s.config.NodeName, mebibytes(free), s.config.DataDir, mebibytes(reserve))
		if !was {
			s.logger.Error("short of disk space: writes are refused while this server leads", "free", mebibytes(free), "reserve", mebibytes(reserve))
		}
	default:
		s.space.refusal = nil
		if was {
			s.logger.Info("there is disk space again: writes are taken", "free", mebibytes(free))
		}
	}
}

func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }

// room returns the error of a write for which there is no space.
func (s *Server) room() error {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	return s.space.refusal
}
