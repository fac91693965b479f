package fsm

import (
	"io"
	"iter"

	"praetor/state"
	"praetor/structs"
)

// Loaded is what a snapshot stream held.
type Loaded struct {
	Store  *state.Store
	Header structs.SnapshotHeader
	chunks chunks
}

// View returns the whole state that was loaded.
func (l *Loaded) View() View { return View{reader: l.Store.Read(), chunks: l.chunks} }

type loader struct {
	Loaded
	writer  *state.Writer
	carried uint64
}

// Load builds a store from a whole snapshot stream. Any damage, and a record of
// Consul Enterprise, is an error with code Corrupt or Unsupported.
func Load(r io.Reader) (*Loaded, error) { return load(r, nil) }

// load tells drop of each Enterprise record, which is left out; if drop is nil,
// such a record is an error.
//
// Records are decoded ahead of the store that takes them: each of the two is
// about half of the work.
func load(r io.Reader, drop func(structs.MessageType)) (*Loaded, error) {
	header, sequence := Records(r)
	l := &loader{Loaded: Loaded{Store: state.New(), Header: header}}
	l.writer = l.Store.Write()
	defer l.writer.Abort()
	decoded := make(chan batch, batchesAhead)
	stop := make(chan struct{})
	go func() {
		defer close(decoded)
		decodeAll(sequence, drop, decoded, stop)
	}()
	defer func() {
		close(stop)
		for range decoded { // until it has let go of r
		}
	}()
	for b := range decoded {
		for _, d := range b.records {
			if err := d.record.restore(l, d.value); err != nil {
				return nil, structs.Errorf(structs.Corrupt, "snapshot record of type %v: %v", d.record.kind, err)
			}
		}
		if b.err != nil {
			return nil, b.err
		}
	}
	state.CompleteIndexes(l.writer)
	l.writer.Commit()
	return &l.Loaded, nil
}

// batch is records in the order of the stream, and what came instead of the next.
type batch struct {
	records []decodedRecord
	err     error
}

type decodedRecord struct {
	record *record
	value  any // what its decode has returned
}

// A batch is full with so many records, or bytes of them, and so many wait: that
// bounds what is decoded ahead.
const (
	batchRecords = 256
	batchBytes   = 256 << 10
	batchesAhead = 4
)

// decodeAll sends what a stream holds, until it ends, an error was sent, or stop
// is closed.
func decodeAll(sequence iter.Seq2[Record, error], drop func(structs.MessageType), to chan<- batch, stop <-chan struct{}) {
	var b batch
	size := 0
	send := func() bool {
		select {
		case to <- b:
		case <-stop:
			return false
		}
		b, size = batch{records: make([]decodedRecord, 0, batchRecords)}, 0
		return true
	}
	for rec, err := range sequence {
		var d decodedRecord
		if err == nil {
			d, err = decode(rec, drop)
		}
		if err != nil {
			b.err = err
			break
		}
		if d.record == nil {
			continue
		}
		b.records = append(b.records, d)
		if size += len(rec.Value); len(b.records) == batchRecords || size >= batchBytes {
			if !send() {
				return
			}
		}
	}
	send()
}

// decode decodes a record; of one that is dropped nothing is left.
func decode(rec Record, drop func(structs.MessageType)) (decodedRecord, error) {
	if rec.Kind.Enterprise() {
		if drop == nil {
			return decodedRecord{}, ErrEnterprise(rec.Kind)
		}
		drop(rec.Kind)
		return decodedRecord{}, nil
	}
	r := recordOf(rec.Kind)
	value, err := r.decode(rec.Value)
	if err != nil {
		return decodedRecord{}, structs.Errorf(structs.Corrupt, "snapshot record of type %v: %v", rec.Kind, err)
	}
	return decodedRecord{r, value}, nil
}
