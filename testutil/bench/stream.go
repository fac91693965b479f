package bench

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"praetor/fsm"
	"praetor/structs"
)

// KeyStream is a snapshot stream of n keys with values that compress to about
// half, as text does.
func KeyStream(tb testing.TB, n int) []byte {
	tb.Helper()
	var stream bytes.Buffer
	random := rand.NewChaCha8([32]byte{1})
	raw := make([]byte, ValueLen/2)
	var buf []byte
	add := func(kind structs.MessageType, v any) {
		var err error
		if kind != 0 {
			stream.WriteByte(byte(kind))
		}
		if buf, err = structs.AppendValue(buf[:0], v); err != nil {
			tb.Fatal(err)
		}
		stream.Write(buf)
	}
	last := uint64(100 + n)
	add(0, &structs.SnapshotHeader{LastIndex: last})
	for i := range n {
		_, _ = random.Read(raw)
		index := uint64(100 + i)
		add(structs.KVSRequestType, &structs.DirEntry{
			Key: fmt.Sprintf("app/%03d/key-%07d", i/1000, i), Value: hex.AppendEncode(nil, raw),
			RaftIndex: structs.RaftIndex{CreateIndex: index, ModifyIndex: index},
		})
	}
	add(structs.IndexType, &structs.IndexEntry{Key: "kvs", Value: last})
	add(structs.ChunkingStateType, &structs.ChunkingState{ChunkMap: map[uint64][]*structs.Chunk{}})
	return stream.Bytes()
}

// DecodeStream decodes a snapshot stream into values that it throws away: what nobody who reads one can do without.
func DecodeStream(stream []byte) error {
	_, records := fsm.Records(bytes.NewReader(stream))
	for rec, err := range records {
		if err != nil {
			return err
		}
		if rec.Kind == structs.KVSRequestType {
			err = structs.DecodeValue(rec.Value, new(structs.DirEntry))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
