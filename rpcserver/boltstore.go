package rpcserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-metrics/compat"
	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"praetor/structs"
)

// boltStore is the store of raft_logstore.backend = "sealed". It keeps raft's
// log and stable values in one bbolt file, raft.db, laid out as raft-boltdb does:
// bucket "logs" has entries in msgpack by index, bucket "conf" the stable values.
// bbolt itself has no checksums but of its two meta pages, so here every entry is
// sealed:
//
//	+-----------------+-----------+--------------------------------------+
//	| entry (msgpack) | sealMagic | CRC32C of index (8 bytes) and entry  |
//	+-----------------+-----------+--------------------------------------+
//
// A decoder stops at the end of the msgpack, so that tools for raft-boltdb read
// these entries too. What a checksum of one entry cannot tell, whether there are
// as many as there were, is in the record, which is written in the transaction of
// each change.
type boltStore struct {
	db     *bbolt.DB
	file   string
	since  uint64                // as in the record
	broken atomic.Pointer[error] // set by the first panic of bbolt

	mu     sync.Mutex // guards the fields below, held while writing
	record record
	values map[string][]byte // bucket conf, but for the record
}

var (
	logsBucket = []byte("logs")
	confBucket = []byte("conf")

	// stableKeys are those that raft has. Any other key is a damaged one.
	stableKeys = []string{"CurrentTerm", "LastVoteCand", "LastVoteTerm"}

	sealMagic  = []byte("\xc1crc") // 0xc1 begins no msgpack value
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	// entryFormat is raft-boltdb's: times as binary values.
	entryFormat = func() *codec.MsgpackHandle {
		var h codec.MsgpackHandle
		h.TimeNotBuiltin = true
		return &h
	}()

	errNotFound = errors.New("not found") // raft compares the text
)

const sealSize = 8

func entryKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func sealOf(key, entry []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, entry)
}

// sealed returns an entry as it is stored.
func sealed(key []byte, log *raft.Log) ([]byte, error) {
	value := make([]byte, 0, len(log.Data)+len(log.Extensions)+128)
	if err := codec.NewEncoderBytes(&value, entryFormat).Encode(log); err != nil {
		return nil, err
	}
	sum := sealOf(key, value)
	return binary.BigEndian.AppendUint32(append(value, sealMagic...), sum), nil
}

// hasSeal reports whether the value ends in a seal that fits.
func hasSeal(key, value []byte) bool {
	entry := len(value) - sealSize
	return entry > 0 && string(value[entry:entry+4]) == string(sealMagic) &&
		binary.BigEndian.Uint32(value[entry+4:]) == sealOf(key, value[:entry])
}

// record says what the file must hold.
//
//	+---------+-------+------+----------+--------+-------+-----------+-------+--------+
//	| version | since | last | snapshot | repair | peers | values    | owner | CRC32C |
//	| 1       | 8     | 8    | 8        | 8      | 8     | CRC32C: 4 | ...   | 4      |
//	+---------+-------+------+----------+--------+-------+-----------+-------+--------+
type record struct {
	since    uint64 // entries from this index on are sealed; older ones may be from before there were seals
	last     uint64 // newest entry that was stored and not taken back
	snapshot uint64 // index of the newest snapshot that was finished
	repair   uint64 // no vote until this index is committed here: see repair.go; 0: none under way
	peers    uint64 // other voters in the newest configuration that was seen
	owner    string // node id
}

const (
	recordKey     = "Checksums" // sorts before raft's own keys: a page cut short loses those first
	recordVersion = 1
	recordFixed   = 1 + 5*8 + 4
)

func (r record) encode(values map[string][]byte) []byte {
	b := []byte{recordVersion}
	for _, n := range []uint64{r.since, r.last, r.snapshot, r.repair, r.peers} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, sumOf(values))
	b = append(b, r.owner...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func sumOf(values map[string][]byte) uint32 {
	var sum uint32
	for _, key := range slices.Sorted(maps.Keys(values)) {
		for _, part := range [][]byte{[]byte(key), values[key]} {
			sum = crc32.Update(sum, castagnoli, binary.BigEndian.AppendUint32(nil, uint32(len(part))))
			sum = crc32.Update(sum, castagnoli, part)
		}
	}
	return sum
}

func (r *record) decode(b []byte, values map[string][]byte) error {
	end := len(b) - 4
	if end < recordFixed || crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return errors.New("the record of its checksums is damaged")
	}
	if b[0] != recordVersion {
		return fmt.Errorf("the record of its checksums has version %d, of a newer Praetor", b[0])
	}
	for i, to := range []*uint64{&r.since, &r.last, &r.snapshot, &r.repair, &r.peers} {
		*to = binary.BigEndian.Uint64(b[1+8*i:])
	}
	if sumOf(values) != binary.BigEndian.Uint32(b[recordFixed-4:]) {
		return errors.New("the term and vote are not what they were")
	}
	r.owner = string(b[recordFixed:end])
	return nil
}

// open opens the file and makes the buckets in a new one.
func (b *boltStore) open(config Raft) (err error) {
	b.db, err = bbolt.Open(b.file, 0o600, boltOptions(config))
	if err != nil {
		return err
	}
	there := false
	b.db.View(func(tx *bbolt.Tx) error {
		there = tx.Bucket(logsBucket) != nil && tx.Bucket(confBucket) != nil
		return nil
	})
	if there {
		return nil // a file that turns out to be damaged stays as it is
	}
	return b.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{logsBucket, confBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// closeQuietly closes the file of a store that could not be opened.
func (b *boltStore) closeQuietly() {
	if b.db != nil {
		b.guard(b.db.Close)
	}
}

// load reads what is in the file besides entries, and checks it.
func (b *boltStore) load(owner string) error {
	defer func() { b.since = b.record.since }()
	return b.guard(func() error {
		fresh := false
		err := b.db.View(func(tx *bbolt.Tx) error {
			b.values = map[string][]byte{}
			var stored []byte
			err := tx.Bucket(confBucket).ForEach(func(k, v []byte) error {
				switch key := string(k); {
				case key == recordKey:
					stored = slices.Clone(v)
				case slices.Contains(stableKeys, key):
					b.values[key] = slices.Clone(v)
				default:
					return damaged(b.file, fmt.Errorf("it has a value %q, which nobody writes", key))
				}
				return nil
			})
			if err != nil {
				return err
			}
			var last uint64
			key, value := tx.Bucket(logsBucket).Cursor().Last()
			if key != nil {
				if len(key) != 8 {
					return damaged(b.file, errors.New("an index is not one"))
				}
				last = binary.BigEndian.Uint64(key)
			}
			if stored == nil {
				if last > 0 && (b.values["CurrentTerm"] == nil || hasSeal(key, value)) {
					return damaged(b.file, errors.New("the record of its checksums is gone"))
				}
				fresh = true
				b.record = record{since: last + 1, last: last, owner: owner}
				return nil
			}
			if err := b.record.decode(stored, b.values); err != nil {
				return damaged(b.file, err)
			}
			if last > b.record.last {
				return damaged(b.file, fmt.Errorf("it has an entry %d, but the newest one written is %d", last, b.record.last))
			}
			if b.record.owner != owner {
				return structs.Errorf(structs.Corrupt, "%s belongs to server %s, and this one is %s: put the right file back, "+
					"or, if the file node-id of the data directory was changed, that", b.file, b.record.owner, owner)
			}
			return nil
		})
		if err != nil || !fresh {
			return err
		}
		return b.db.Update(b.putRecord)
	})
}

func (b *boltStore) putRecord(tx *bbolt.Tx) error {
	return tx.Bucket(confBucket).Put([]byte(recordKey), b.record.encode(b.values))
}

// guard turns a panic of bbolt, or a memory fault in the mapped file, into an
// error. After it nothing more is done with the file: bbolt may be half way
// through something.
func (b *boltStore) guard(do func() error) (err error) {
	if broken := b.broken.Load(); broken != nil {
		return *broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged(b.file, fmt.Errorf("%v", p))
			b.broken.Store(&err)
		}
	}()
	return do()
}

// update makes a change and writes the record along with it.
func (b *boltStore) update(change func(tx *bbolt.Tx) error) error {
	return b.guard(func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		record, values := b.record, maps.Clone(b.values)
		err := b.db.Update(func(tx *bbolt.Tx) error {
			if err := change(tx); err != nil {
				return err
			}
			return b.putRecord(tx)
		})
		if err != nil {
			b.record, b.values = record, values
		}
		return err
	})
}

// FirstIndex is the oldest entry's, 0 if there is none.
func (b *boltStore) FirstIndex() (uint64, error) { return b.edge((*bbolt.Cursor).First) }

// LastIndex is the newest entry's, 0 if there is none.
func (b *boltStore) LastIndex() (uint64, error) { return b.edge((*bbolt.Cursor).Last) }

func (b *boltStore) edge(seek func(*bbolt.Cursor) (key, value []byte)) (index uint64, err error) {
	err = b.guard(func() error {
		return b.db.View(func(tx *bbolt.Tx) error {
			if key, _ := seek(tx.Bucket(logsBucket).Cursor()); key != nil {
				index = binary.BigEndian.Uint64(key)
			}
			return nil
		})
	})
	return index, err
}

// GetLog reads an entry. A damaged one is an error with the code Corrupt.
func (b *boltStore) GetLog(index uint64, log *raft.Log) error {
	defer metrics.MeasureSince([]string{"raft", "boltdb", "getLog"}, time.Now())
	return b.guard(func() error {
		return b.db.View(func(tx *bbolt.Tx) error {
			key := entryKey(index)
			value := tx.Bucket(logsBucket).Get(key)
			if value == nil {
				return raft.ErrLogNotFound
			}
			if !hasSeal(key, value) && index >= b.since {
				return damaged(b.file, fmt.Errorf("entry %d is not what was written", index))
			}
			if err := codec.NewDecoderBytes(value, entryFormat).Decode(log); err != nil {
				return damaged(b.file, fmt.Errorf("entry %d: %w", index, err))
			}
			if log.Index != index {
				return damaged(b.file, fmt.Errorf("entry %d says that it is entry %d", index, log.Index))
			}
			return nil
		})
	})
}

// StoreLog stores an entry.
func (b *boltStore) StoreLog(log *raft.Log) error { return b.StoreLogs([]*raft.Log{log}) }

// StoreLogs stores entries, all or none, and returns when they are on disk.
func (b *boltStore) StoreLogs(logs []*raft.Log) error {
	start, size := time.Now(), 0
	err := b.update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(logsBucket)
		for _, log := range logs {
			key := entryKey(log.Index)
			value, err := sealed(key, log)
			if err != nil {
				return err
			}
			if err := bucket.Put(key, value); err != nil {
				return err
			}
			size += len(value)
			b.record.last = max(b.record.last, log.Index)
			if log.Type == raft.LogConfiguration {
				b.record.notePeers(raft.DecodeConfiguration(log.Data))
			}
		}
		return nil
	})
	metrics.AddSample([]string{"raft", "boltdb", "logsPerBatch"}, float32(len(logs)))
	metrics.AddSample([]string{"raft", "boltdb", "logBatchSize"}, float32(size))
	metrics.MeasureSince([]string{"raft", "boltdb", "storeLogs"}, start)
	return err
}

// DeleteRange deletes the entries from one index to another, both included:
// at the old end behind a snapshot, or at the new end what another leader has
// taken back.
func (b *boltStore) DeleteRange(first, last uint64) error {
	return b.update(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(logsBucket).Cursor()
		for key, _ := cursor.Seek(entryKey(first)); key != nil && binary.BigEndian.Uint64(key) <= last; {
			index := binary.BigEndian.Uint64(key)
			if err := cursor.Delete(); err != nil {
				return err
			}
			key, _ = cursor.Seek(entryKey(index + 1)) // Next may skip one after Delete
		}
		if last >= b.record.last && first > 0 {
			b.record.last = min(b.record.last, first-1)
		}
		return nil
	})
}

// Set stores a stable value.
func (b *boltStore) Set(key, value []byte) error {
	if !slices.Contains(stableKeys, string(key)) {
		return fmt.Errorf("no stable value is called %q", key) // load would take it for damage
	}
	return b.update(func(tx *bbolt.Tx) error {
		b.values[string(key)] = slices.Clone(value)
		return tx.Bucket(confBucket).Put(key, value)
	})
}

// Get returns a stable value.
func (b *boltStore) Get(key []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	value, ok := b.values[string(key)]
	if !ok {
		return nil, errNotFound
	}
	return slices.Clone(value), nil
}

// SetUint64 stores a number as a stable value.
func (b *boltStore) SetUint64(key []byte, n uint64) error { return b.Set(key, entryKey(n)) }

// GetUint64 returns a stable value that is a number.
func (b *boltStore) GetUint64(key []byte) (uint64, error) {
	value, err := b.Get(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, damaged(b.file, fmt.Errorf("the value of %s is no number", key))
	}
	return binary.BigEndian.Uint64(value), nil
}

func (r *record) notePeers(c raft.Configuration) {
	r.peers = 0
	for _, server := range c.Servers {
		if server.Suffrage == raft.Voter && string(server.ID) != r.owner {
			r.peers++
		}
	}
}

// noteSnapshot remembers that there is a snapshot of this index.
func (b *boltStore) noteSnapshot(index uint64, c raft.Configuration) error {
	return b.update(func(*bbolt.Tx) error {
		if index > b.record.last || b.record.peers == 0 { // it is the newest word on who votes
			b.record.notePeers(c)
		}
		b.record.snapshot = max(b.record.snapshot, index)
		return nil
	})
}

// reached is how far this server had come: its log and snapshots go to there.
func (b *boltStore) reached() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.record.last, b.record.snapshot)
}

// repairing is the index that must be committed here before this server votes
// again, 0 if it may vote.
func (b *boltStore) repairing() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.record.repair
}

// repaired says that it may vote again.
func (b *boltStore) repaired() error {
	return b.update(func(*bbolt.Tx) error {
		b.record.repair = 0
		return nil
	})
}

// Close closes the file.
func (b *boltStore) Close() error { return b.db.Close() }
