package fsm_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/structs"
)

// BenchmarkApplyBatch is the cost of one put of 256 new bytes in a batch of 64.
func BenchmarkApplyBatch(b *testing.B) {
	const batch, keys = 64, 10_000
	f := fsm.New()
	entries := make([][]byte, 2*keys) // two values for each key: a put of what is there is cheaper
	for i := range entries {
		data, err := structs.EncodeCommand(&structs.KVSRequest{
			Datacenter: "dc1", Op: structs.KVSet,
			DirEnt: structs.DirEntry{Key: fmt.Sprintf("bench/key-%06d", i%keys), Value: bytes.Repeat([]byte{byte(i / keys)}, 256)},
		})
		if err != nil {
			b.Fatal(err)
		}
		entries[i] = data
	}
	logs := make([]*raft.Log, batch)
	index := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		index++
		logs[index%batch] = &raft.Log{Index: index, Term: 1, Data: entries[index*7919%(2*keys)]}
		if index%batch == batch-1 {
			if logs[0] != nil {
				f.ApplyBatch(logs)
			}
		}
	}
}

// BenchmarkEncodeCommand is the cost of making the log entry of such a put.
func BenchmarkEncodeCommand(b *testing.B) {
	c := &structs.KVSRequest{Datacenter: "dc1", Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "bench/key-000001", Value: make([]byte, 256)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := structs.EncodeCommand(c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeCommand is the cost of reading it.
func BenchmarkDecodeCommand(b *testing.B) {
	c := &structs.KVSRequest{Datacenter: "dc1", Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "bench/key-000001", Value: make([]byte, 256)}}
	data, err := structs.EncodeCommand(c)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var back structs.KVSRequest
		if err := structs.DecodeValue(data[1:], &back); err != nil {
			b.Fatal(err)
		}
	}
}

// txn64 is a transaction of 64 puts of 256 bytes.
func txn64(n int) *structs.TxnRequest {
	c := &structs.TxnRequest{Datacenter: "dc1"}
	for i := range 64 {
		c.Ops = append(c.Ops, structs.TxnOp{KV: &structs.TxnKVOp{Verb: structs.KVSet, DirEnt: structs.DirEntry{
			Key: fmt.Sprintf("bench/key-%06d", (n*64+i)%10_000), Value: make([]byte, 256),
		}}})
	}
	return c
}

// BenchmarkApplyTxn is the cost of a transaction of 64 puts.
func BenchmarkApplyTxn(b *testing.B) {
	f := fsm.New()
	entries := make([][]byte, 200)
	for i := range entries {
		data, err := structs.EncodeCommand(txn64(i))
		if err != nil {
			b.Fatal(err)
		}
		entries[i] = data
	}
	index := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		index++
		f.Apply(&raft.Log{Index: index, Term: 1, Data: entries[index%200]})
	}
}

// BenchmarkEncodeTxn and BenchmarkDecodeTxn are the costs of its log entry.
func BenchmarkEncodeTxn(b *testing.B) {
	c := txn64(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := structs.EncodeCommand(c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeTxn(b *testing.B) {
	data, err := structs.EncodeCommand(txn64(1))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var back structs.TxnRequest
		if err := structs.DecodeValue(data[1:], &back); err != nil {
			b.Fatal(err)
		}
	}
}

// keyStream is a snapshot stream of n keys with values of 256 bytes.
func keyStream(tb testing.TB, n int) []byte {
	tb.Helper()
	stream, err := structs.AppendValue(nil, &structs.SnapshotHeader{LastIndex: uint64(100 + n)})
	for i := 0; i < n && err == nil; i++ {
		index := uint64(100 + i)
		stream, err = structs.AppendValue(append(stream, byte(structs.KVSRequestType)), &structs.DirEntry{
			Key: fmt.Sprintf("app/%03d/key-%07d", i/1000, i), Value: bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 128),
			RaftIndex: structs.RaftIndex{CreateIndex: index, ModifyIndex: index},
		})
	}
	if err != nil {
		tb.Fatal(err)
	}
	return stream
}

// BenchmarkLoad is the cost of building a store from a stream of 300,000 keys.
func BenchmarkLoad(b *testing.B) {
	stream := keyStream(b, 300_000)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fsm.Load(bytes.NewReader(stream)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecords is the cost of only decoding them.
func BenchmarkRecords(b *testing.B) {
	stream := keyStream(b, 300_000)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		_, records := fsm.Records(bytes.NewReader(stream))
		for rec, err := range records {
			if err == nil {
				err = structs.DecodeValue(rec.Value, new(structs.DirEntry))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkStream is the cost of writing such a stream.
func BenchmarkStream(b *testing.B) {
	stream := keyStream(b, 300_000)
	loaded, err := fsm.Load(bytes.NewReader(stream))
	if err != nil {
		b.Fatal(err)
	}
	view := loaded.View()
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		if err := view.Stream(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
