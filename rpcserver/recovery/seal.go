package recovery

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// An entry in raft.db may be sealed with a checksum, since bbolt has none:
//
//	+-----------------+----------+--------------------------------------+
//	| entry (msgpack) | \xc1 crc | CRC32C of index (8 bytes) and entry  |
//	+-----------------+----------+--------------------------------------+
//
// From which index on every entry must be, is in the record "Checksums" beside
// raft's own values: after its version, 8 bytes.
const (
	sealMagic = "\xc1crc"
	sealSize  = len(sealMagic) + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sealedFrom(record []byte) uint64 {
	if len(record) < 9 || record[0] != 1 {
		return math.MaxUint64
	}
	return binary.BigEndian.Uint64(record[1:])
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
