package recovery

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
)

// An entry in raft.db may be sealed with a checksum, since bbolt has none:
//
//	+-----------------+----------+--------------------------------------+
//	| entry (msgpack) | \xc1 crc | CRC32C of index (8 bytes) and entry  |
//	+-----------------+----------+--------------------------------------+
//
// Beside raft's own values there is then a record of what the file must hold:
//
//	+---------+-------+------+----------+--------+-----+--------+
//	| version | since | last | snapshot | repair | ... | CRC32C |
//	| 1       | 8     | 8    | 8        | 8      |     | 4      |
//	+---------+-------+------+----------+--------+-----+--------+
//
// From since on every entry is sealed. The server had come to the largest of
// last, snapshot and repair; if it has less now, some of its log was lost.
const (
	sealMagic     = "\xc1crc"
	sealSize      = len(sealMagic) + 4
	recordKey     = "Checksums"
	recordVersion = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readRecord reads the record; without one, or with one of another version,
// nothing is known.
func readRecord(record []byte) (since, reached uint64, err error) {
	end := len(record) - 4
	if record == nil || len(record) > 0 && record[0] != recordVersion {
		return math.MaxUint64, 0, nil
	}
	if end < 33 || crc32.Checksum(record[:end], castagnoli) != binary.BigEndian.Uint32(record[end:]) {
		return math.MaxUint64, 0, errors.New("the record of its checksums is damaged")
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(record[1+8*i:]) }
	return number(0), max(number(1), number(2), number(3)), nil
}

// intact says whether the entry is as it was written, as far as that can be told.
func intact(key, value []byte, mustBeSealed bool) bool {
	end := len(value) - sealSize
	if end <= 0 || string(value[end:end+len(sealMagic)]) != sealMagic {
		return !mustBeSealed
	}
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value[:end])
	return binary.BigEndian.Uint32(value[end+len(sealMagic):]) == sum
}
