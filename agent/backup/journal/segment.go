package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// magic begins every segment. The number is the version of what follows.
const magic = "PRTRLOG1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the first frame of a segment.
type header struct {
	Chain       string
	First, Last uint64 // indexes of the first and the last entry in this segment
}

// builder puts a segment together, entry by entry. Entries follow one another
// without a gap.
//
//	+----------+--------+-------+-------+-- --+---------+
//	| PRTRLOG1 | header | entry | entry | ... | SHA-256 | of all before it
//	+----------+--------+-------+-------+-- --+---------+
//
// The header, in msgpack, and each entry stand in a frame of their own, numbers
// little-endian:
//
//	+------------+---------------+---------+
//	| length u32 | CRC-32C u32   | payload | CRC of the payload
//	+------------+---------------+---------+
//
//	entry: | index u64 | term u64 | appended i64, Unix ns, 0: unknown | raft type u8 | extensions length u32 | extensions | data |
//
// Data and extensions are those of the raft log, to the byte.
type builder struct {
	header
	entries []byte
	end     string    // mark of the last entry
	time    time.Time // when that was appended
}

// fixedSize is how many bytes an entry has besides extensions and data.
const fixedSize = 8 + 8 + 8 + 1 + 4

func (b *builder) add(log *raft.Log) {
	if b.First == 0 {
		b.First = log.Index
	}
	b.Last, b.end, b.time = log.Index, mark(log), log.AppendedAt
	b.entries = appendFrame(b.entries, appendEntry(make([]byte, 0, fixedSize+len(log.Extensions)+len(log.Data)), log))
}

func appendEntry(dst []byte, log *raft.Log) []byte {
	var appended int64
	if !log.AppendedAt.IsZero() {
		appended = log.AppendedAt.UnixNano()
	}
	dst = binary.LittleEndian.AppendUint64(dst, log.Index)
	dst = binary.LittleEndian.AppendUint64(dst, log.Term)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(appended))
	dst = append(dst, byte(log.Type))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(log.Extensions)))
	dst = append(dst, log.Extensions...)
	return append(dst, log.Data...)
}

func appendFrame(dst, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(payload, castagnoli))
	return append(dst, payload...)
}

// encode returns the whole segment.
func (b *builder) encode() ([]byte, error) {
	head, err := structs.AppendValue(nil, &b.header)
	if err != nil {
		return nil, err
	}
	segment := make([]byte, 0, len(magic)+8+len(head)+len(b.entries)+sha256.Size)
	segment = append(segment, magic...)
	segment = appendFrame(segment, head)
	segment = append(segment, b.entries...)
	sum := sha256.Sum256(segment)
	return append(segment, sum[:]...), nil
}

// mark tells an entry from any other that might stand at its index.
func mark(log *raft.Log) string {
	sum := sha256.Sum256(appendEntry(nil, log))
	return hex.EncodeToString(sum[:8])
}

// decode reads a segment that was stored under name. Any damage is an error with
// code Corrupt that says where it is.
func decode(name string, segment []byte) (header, []*raft.Log, error) {
	var h header
	corrupt := func(format string, args ...any) (header, []*raft.Log, error) {
		return h, nil, structs.Errorf(structs.Corrupt, "log segment %s is damaged: %s", name, fmt.Sprintf(format, args...))
	}
	if len(segment) < len(magic)+sha256.Size {
		return corrupt("it is cut short at byte %d", len(segment))
	}
	if string(segment[:len(magic)]) != magic {
		return corrupt("it does not begin as a segment does")
	}
	body, want := segment[:len(segment)-sha256.Size], segment[len(segment)-sha256.Size:]
	got := sha256.Sum256(body)
	whole := bytes.Equal(got[:], want)

	rest := body[len(magic):]
	head, rest, ok := nextFrame(rest)
	if !ok || structs.DecodeValue(head, &h) != nil {
		return corrupt("its header cannot be read")
	}
	info, named := parseName(name)
	if !named || info.First != h.First || info.Last != h.Last || short(h.Chain) != info.Chain {
		return corrupt("it holds entries %d to %d of chain %s, which is not what it is called", h.First, h.Last, h.Chain)
	}
	var entries []*raft.Log
	for index := h.First; index <= h.Last; index++ {
		at := len(body) - len(rest)
		var payload []byte
		if payload, rest, ok = nextFrame(rest); !ok {
			return corrupt("entry %d, at byte %d, does not match its checksum, or is not there", index, at)
		}
		log, ok := parseEntry(payload)
		if !ok || log.Index != index {
			return corrupt("what stands at byte %d is not entry %d", at, index)
		}
		entries = append(entries, log)
	}
	if len(rest) > 0 {
		return corrupt("%d bytes stand behind its last entry", len(rest))
	}
	if mark(entries[len(entries)-1]) != info.end {
		return corrupt("its last entry is not the one that it is named after")
	}
	if !whole {
		return corrupt("its SHA-256 is not the one at its end")
	}
	return h, entries, nil
}

func nextFrame(b []byte) (payload, rest []byte, ok bool) {
	if len(b) < 8 {
		return nil, b, false
	}
	size, want := uint64(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint32(b[4:])
	if size > uint64(len(b)-8) {
		return nil, b, false
	}
	payload = b[8 : 8+size]
	return payload, b[8+size:], crc32.Checksum(payload, castagnoli) == want
}

func parseEntry(p []byte) (*raft.Log, bool) {
	if len(p) < fixedSize {
		return nil, false
	}
	log := &raft.Log{
		Index: binary.LittleEndian.Uint64(p),
		Term:  binary.LittleEndian.Uint64(p[8:]),
		Type:  raft.LogType(p[24]),
	}
	if appended := int64(binary.LittleEndian.Uint64(p[16:])); appended != 0 {
		log.AppendedAt = time.Unix(0, appended)
	}
	size, rest := uint64(binary.LittleEndian.Uint32(p[25:])), p[fixedSize:]
	if size > uint64(len(rest)) {
		return nil, false
	}
	if size > 0 { // nil is what says that an entry is not one of several parts
		log.Extensions = rest[:size:size]
	}
	log.Data = rest[size:]
	return log, true
}

// newChain makes the id of a chain that begins now: eight random digits, which
// also stand in the names of its segments, and the time.
func newChain(now time.Time) string {
	return fmt.Sprintf("%08x-%d", rand.Uint32(), now.UnixMilli())
}

// short is the part of a chain's id that stands in names.
func short(chain string) string {
	id, _, _ := strings.Cut(chain, "-")
	return id
}

// begun is when a chain began.
func begun(chain string) time.Time {
	_, ms, _ := strings.Cut(chain, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// prefix is where segments lie in the target.
const prefix = "log/"

// name is log/<first>-<last>-<chain>-<mark of the last entry>.seg, the indexes
// with 20 digits so that names are in order of index. With the mark a new leader
// knows from the name alone whether a segment is of its own log: it need not be
// able to open what is sealed.
func (b *builder) name() string {
	return fmt.Sprintf("%s%020d-%020d-%s-%s.seg", prefix, b.First, b.Last, short(b.Chain), b.end)
}

// Info is what is known of a segment without reading it.
type Info struct {
	Name        string
	Chain       string // the first part of its id
	First, Last uint64
	Size        int64
	Time        time.Time // when it was stored

	end string
}

func parseName(name string) (Info, bool) {
	base, inside := strings.CutPrefix(name, prefix)
	base, ok := strings.CutSuffix(base, ".seg")
	parts := strings.Split(base, "-")
	if !inside || !ok || len(parts) != 4 {
		return Info{}, false
	}
	first, err := strconv.ParseUint(parts[0], 10, 64)
	if err != nil {
		return Info{}, false
	}
	last, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil || first == 0 || last < first {
		return Info{}, false
	}
	return Info{Name: name, Chain: parts[2], First: first, Last: last, end: parts[3]}, true
}
