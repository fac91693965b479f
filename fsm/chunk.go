package fsm

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/go-raftchunking/types"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"praetor/structs"
)

// chunks holds the parts of large entries until all have arrived. An entry that
// is too large for raft is split by go-raftchunking, which marks each part in
// the log entry's extensions.
//
// The library's own reassembly forgets the term of the parts that a snapshot
// brought: the next part makes it drop them all, on the restored server alone.
// Here the term that counts is the one each part carries.
type chunks struct {
	pending map[uint64][]*structs.Chunk // by operation number
}

// add takes one entry. It returns the data to apply once that is whole: at
// once for an entry that was not split, else with its last part.
//
// Parts of an older term are dropped: their writer was told to send again.
func (c *chunks) add(log *raft.Log) (data []byte, whole bool) {
	if log.Extensions == nil {
		return log.Data, true
	}
	var mark types.ChunkInfo
	if err := proto.Unmarshal(log.Extensions, &mark); err != nil {
		panic(fmt.Sprintf("fsm: entry %d: chunk mark: %v", log.Index, err))
	}
	if mark.NumChunks == 0 || mark.SequenceNum >= mark.NumChunks {
		panic(fmt.Sprintf("fsm: entry %d is chunk %d of %d", log.Index, mark.SequenceNum, mark.NumChunks))
	}
	maps.DeleteFunc(c.pending, func(_ uint64, parts []*structs.Chunk) bool { return termOf(parts) != log.Term })
	parts := c.pending[mark.OpNum]
	if parts == nil {
		parts = make([]*structs.Chunk, mark.NumChunks)
		if c.pending == nil {
			c.pending = map[uint64][]*structs.Chunk{}
		}
		c.pending[mark.OpNum] = parts
	}
	parts[mark.SequenceNum] = &structs.Chunk{
		OpNum: mark.OpNum, SequenceNum: mark.SequenceNum, NumChunks: mark.NumChunks, Term: log.Term, Data: log.Data,
	}
	if slices.Contains(parts, nil) {
		return nil, false
	}
	delete(c.pending, mark.OpNum)
	for _, part := range parts {
		data = append(data, part.Data...)
	}
	return data, true
}

func termOf(parts []*structs.Chunk) uint64 {
	for _, part := range parts {
		if part != nil {
			return part.Term
		}
	}
	return 0
}

// clone copies what the next add would change; the parts themselves never change.
func (c *chunks) clone() chunks {
	copied := make(map[uint64][]*structs.Chunk, len(c.pending))
	for op, parts := range c.pending {
		copied[op] = slices.Clone(parts)
	}
	return chunks{copied}
}

// Joiner puts large entries together for a reader of the log that applies nothing.
type Joiner struct{ chunks chunks }

// Add takes the next entry. It returns a command's bytes once they are whole:
// with an entry that was not split, else with the last part.
func (j *Joiner) Add(log *raft.Log) (data []byte, whole bool) {
	if log.Type != raft.LogCommand {
		return nil, false
	}
	return j.chunks.add(log)
}
