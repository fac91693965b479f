package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/hashicorp/raft"
)

// A seal stands behind the extensions of an entry, where both libraries keep it
// without looking at it:
//
//	+-------------------------+-----------+---------------------------------+
//	| Extensions, often empty | sealMagic | CRC32C of all the entry, sumOf  |
//	|                         | 4         | 4, big-endian                   |
//	+-------------------------+-----------+---------------------------------+
//
// It is there on disk only: raft hands its entries to other servers as it was
// given them.
const (
	sealMagic = "\xc1crc"
	sealSize  = len(sealMagic) + 4
	headSize  = 8 + 8 + 1 + 8 + 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf is the CRC32C of an entry: index, term, type, time and length of the
// extensions, which head has room for, then extensions and data.
func sumOf(head *[headSize]byte, l *raft.Log, extensions []byte) uint32 {
	binary.BigEndian.PutUint64(head[0:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	binary.BigEndian.PutUint64(head[17:], uint64(l.AppendedAt.Unix()))
	binary.BigEndian.PutUint32(head[25:], uint32(l.AppendedAt.Nanosecond()))
	binary.BigEndian.PutUint32(head[29:], uint32(len(extensions)))
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, extensions)
	return crc32.Update(sum, castagnoli, l.Data)
}

// unseal takes the seal off an entry that was read. It reports whether there was
// one, and whether it fits; one that does not stays.
func unseal(l *raft.Log) (sealed, fits bool) {
	end := len(l.Extensions) - sealSize
	if end < 0 || string(l.Extensions[end:end+len(sealMagic)]) != sealMagic {
		return false, false
	}
	var head [headSize]byte
	if binary.BigEndian.Uint32(l.Extensions[end+len(sealMagic):]) != sumOf(&head, l, l.Extensions[:end]) {
		return true, false
	}
	if l.Extensions = l.Extensions[:end:end]; end == 0 {
		l.Extensions = nil // as it was: who splits entries looks for nil
	}
	return true, true
}

// verify takes the seal off an entry, and says what is wrong with it. From since
// on every entry must have one.
func verify(l *raft.Log, index, since uint64) error {
	switch sealed, fits := unseal(l); {
	case sealed != fits, !sealed && index >= since:
		return errors.New("it is not what was written")
	case l.Index != index:
		return fmt.Errorf("it says that it is entry %d", l.Index)
	}
	return nil
}

// sealer makes sealed copies of entries. It keeps its memory, since a batch is
// on disk before the next one comes, and shares Data with the entries: those are
// raft's, and goroutines that replicate them read them meanwhile.
type sealer struct {
	logs     []raft.Log
	pointers []*raft.Log
	seals    []byte
	head     [headSize]byte
}

// seal returns copies that are valid until release.
func (s *sealer) seal(logs []*raft.Log) []*raft.Log {
	size := 0
	for _, l := range logs {
		size += len(l.Extensions) + sealSize
	}
	s.seals = slices.Grow(s.seals[:0], size) // does not move below
	s.logs = slices.Grow(s.logs[:0], len(logs))
	s.pointers = s.pointers[:0]
	for _, l := range logs {
		from := len(s.seals)
		s.seals = append(append(s.seals, l.Extensions...), sealMagic...)
		s.seals = binary.BigEndian.AppendUint32(s.seals, sumOf(&s.head, l, l.Extensions))
		s.logs = append(s.logs, *l)
		sealed := &s.logs[len(s.logs)-1]
		sealed.Extensions = s.seals[from:]
		s.pointers = append(s.pointers, sealed)
	}
	return s.pointers
}

// release lets go of the entries' data.
func (s *sealer) release() { clear(s.logs) }
