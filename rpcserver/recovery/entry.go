package recovery

import (
	"fmt"
	"iter"
	"time"

	"github.com/hashicorp/go-raftchunking/types"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"praetor/fsm"
	"praetor/structs"
)

// Entry is an entry of the raft log as people read it, or a stretch of indexes
// without entries.
type Entry struct {
	Index uint64
	Last  uint64     `json:",omitempty"` // of a stretch
	Term  uint64     `json:",omitempty"`
	Time  *time.Time `json:",omitempty"` // when its leader appended it
	Type  string     // raft's: command, configuration, noop, barrier; or damaged, missing
	Size  int        // in bytes

	Command string `json:",omitempty"` // what kind of change: KVS, Session, Register, ...
	Op      string `json:",omitempty"` // set, delete-tree, create, ...
	What    string `json:",omitempty"` // which key, session, service
	Chunk   *Chunk `json:",omitempty"`
	Damage  string `json:",omitempty"` // what is wrong
}

// Chunk says which part of a larger entry this one is.
type Chunk struct {
	Of     uint64 // the number of the whole
	Number uint32 // from 1
	Total  uint32
	Whole  int `json:",omitempty"` // bytes of all parts; with the last of them, if all were read
}

// Describe reads entries of the log for people.
func (l *Log) Describe(from, to uint64) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		var joiner fsm.Joiner
		for s := range l.Entries(from, to) {
			if !yield(describe(s, &joiner)) {
				return
			}
		}
	}
}

func describe(s Stretch, joiner *fsm.Joiner) Entry {
	log := s.Entry
	if log == nil {
		e := Entry{Index: s.First, Type: "missing", Damage: s.Damage}
		if s.Damage != "" {
			e.Type = "damaged"
		}
		if s.Last > s.First {
			e.Last = s.Last
		}
		return e
	}
	e := Entry{Index: log.Index, Term: log.Term, Size: s.Size}
	if !log.AppendedAt.IsZero() {
		at := log.AppendedAt.UTC()
		e.Time = &at
	}
	switch log.Type {
	case raft.LogCommand:
		e.Type = "command"
		e.command(log, joiner)
	case raft.LogNoop:
		e.Type = "noop"
	case raft.LogBarrier:
		e.Type = "barrier"
	case raft.LogConfiguration:
		e.Type = "configuration"
		var c raft.Configuration
		if err := guard(func() error { c = raft.DecodeConfiguration(log.Data); return nil }); err != nil {
			e.Damage = err.Error()
		}
		e.What = serversText(serversOf(c))
	default:
		e.Type = fmt.Sprintf("unknown(%d)", log.Type)
	}
	return e
}

func serversText(servers []Server) string {
	text := ""
	for i, s := range servers {
		if i > 0 {
			text += ", "
		}
		text += s.ID + " at " + s.Address
		if !s.Voter {
			text += " (no vote)"
		}
	}
	return text
}

// maxParts bounds what a damaged mark can make us wait for: 4 GiB.
const maxParts = 1 << 13

// command fills in what a command is about.
func (e *Entry) command(log *raft.Log, joiner *fsm.Joiner) {
	if log.Extensions != nil {
		var mark types.ChunkInfo
		if err := proto.Unmarshal(log.Extensions, &mark); err != nil || mark.SequenceNum >= mark.NumChunks || mark.NumChunks > maxParts {
			e.Damage = "the mark of a part of a larger entry is damaged"
			return
		}
		e.Chunk = &Chunk{Of: mark.OpNum, Number: mark.SequenceNum + 1, Total: mark.NumChunks}
	}
	var data []byte
	whole := false
	if err := guard(func() error { data, whole = joiner.Add(log); return nil }); err != nil {
		e.Damage = err.Error() // two parts do not agree on how many there are
		return
	}
	if !whole {
		return
	}
	if e.Chunk != nil {
		e.Chunk.Whole = len(data)
	}
	if len(data) == 0 {
		e.Damage = "it is empty"
		return
	}
	e.Command = (structs.MessageType(data[0]) &^ structs.IgnoreUnknownTypeFlag).String()
	switch c := decode(data).(type) {
	case nil: // unknown: its name has the number
	case error:
		e.Damage = c.Error()
	case structs.Command:
		e.Op, e.What = about(c)
	}
}

// decode makes a command of a whole entry: a structs.Command, an error, or nil
// for a type that this version does not know.
func decode(data []byte) any {
	if len(data) == 0 {
		return nil
	}
	var c structs.Command
	err := guard(func() (err error) {
		c, err = fsm.DecodeCommand(data)
		return err
	})
	switch {
	case structs.IsCode(err, structs.Unsupported):
		return nil
	case err != nil:
		return fmt.Errorf("the command is damaged: %w", err)
	}
	return c
}
