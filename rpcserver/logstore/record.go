package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// record says what the log must hold.
//
//	+-------+---------+----------+------+-------+-------+------+----------+--------+-------+
//	| magic | version | sequence | kind | renew | since | last | snapshot | repair | peers |
//	| 4     | 1       | 8        | 1    | 1     | 8     | 8    | 8        | 8      | 8     |
//	+-------+---------+----------+------+-------+-------+------+----------+--------+-------+
//	+-------+--------+------------------+--------+
//	| votes | before | length and owner | CRC32C |
//	|       |        | 2                | 4      |
//	+-------+--------+------------------+--------+
//
// Votes are term u64, term of the vote u64, length u16 and candidate. All numbers
// are big-endian. It is well below 512 bytes, a sector, which a power failure
// does not leave half written.
type record struct {
	sequence uint64
	kind     kind   // which of the two formats the log has
	renew    bool   // a new log is to take the place of the one that is there: see renew.go
	since    uint64 // entries from this index on are sealed; older ones may be from before there were seals
	last     uint64 // newest entry that was stored and not taken back
	snapshot uint64 // index of the newest snapshot that was finished
	repair   uint64 // no vote until this index is committed here; 0: no repair under way
	peers    uint64 // other voters in the newest configuration that was seen
	votes    votes
	before   votes // what the log store may still have: see Store.Set
	owner    string
}

// votes are raft's stable values. It has no others.
type votes struct {
	term, voteTerm uint64
	candidate      string
}

const (
	recordMagic   = "PRRR"
	recordVersion = 1
	maxText       = 1 << 10 // of candidate and owner
)

func (v votes) encode(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, v.term)
	b = binary.BigEndian.AppendUint64(b, v.voteTerm)
	b = binary.BigEndian.AppendUint16(b, uint16(len(v.candidate)))
	return append(b, v.candidate...)
}

// covers reports whether each value is the one in the one or the other.
func (v votes) covers(a, b votes) bool {
	return (v.term == a.term || v.term == b.term) && (v.voteTerm == a.voteTerm || v.voteTerm == b.voteTerm) &&
		(v.candidate == a.candidate || v.candidate == b.candidate)
}

func (r *record) encode() []byte {
	b := append([]byte(recordMagic), recordVersion)
	b = binary.BigEndian.AppendUint64(b, r.sequence)
	renew := byte(0)
	if r.renew {
		renew = 1
	}
	b = append(b, byte(r.kind), renew)
	for _, n := range []uint64{r.since, r.last, r.snapshot, r.repair, r.peers} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = r.before.encode(r.votes.encode(b))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.owner)))
	b = append(b, r.owner...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errNoRecord = errors.New("there is no record here")

// decodeRecord reads a record at the start of b.
func decodeRecord(b []byte) (r record, err error) {
	in := bytes.NewBuffer(b)
	take := func(n int) []byte {
		if b := in.Next(n); len(b) == n {
			return b
		}
		err = errNoRecord
		return make([]byte, n)
	}
	number := func() uint64 { return binary.BigEndian.Uint64(take(8)) }
	text := func() string { return string(take(min(int(binary.BigEndian.Uint16(take(2))), maxText+1))) }
	magic, version := string(take(4)), take(1)[0]
	r.sequence = number()
	r.kind = kind(take(1)[0])
	r.renew = take(1)[0] == 1
	for _, to := range []*uint64{&r.since, &r.last, &r.snapshot, &r.repair, &r.peers} {
		*to = number()
	}
	for _, to := range []*votes{&r.votes, &r.before} {
		*to = votes{number(), number(), text()}
	}
	r.owner = text()
	size := len(b) - in.Len()
	sum := binary.BigEndian.Uint32(take(4))
	switch {
	case magic != recordMagic || version == recordVersion && (err != nil || sum != crc32.Checksum(b[:size], castagnoli)):
		return record{}, errNoRecord
	case version != recordVersion:
		return record{}, fmt.Errorf("it has version %d, of a newer Praetor", version)
	case kinds[r.kind] == "":
		return record{}, errNoRecord
	}
	return r, nil
}

// notePeers counts the other voters of a configuration.
func (r *record) notePeers(c raft.Configuration) {
	r.peers = 0
	for _, server := range c.Servers {
		if server.Suffrage == raft.Voter && string(server.ID) != r.owner {
			r.peers++
		}
	}
}

// reached is how far the server had come: its log and snapshots go to there.
func (r *record) reached() uint64 { return max(r.last, r.snapshot) }
