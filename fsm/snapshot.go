package fsm

import (
	"bufio"
	"crypto/sha256"
	"io"
	"iter"
	"math"

	"praetor/state"
	"praetor/structs"
)

// View is an immutable view of the whole state, for one goroutine.
type View struct {
	Index, Term uint64 // of the last raft entry in it that changes anything; 0 where that is not known

	reader *state.Reader
	chunks chunks
}

// Stream writes the view as a snapshot stream (consul-wire.md section 6):
//
//	+--------------------+------+----------------+------+----------------+--
//	| header {LastIndex} | type | value, msgpack | type | value, msgpack | ...
//	+--------------------+------+----------------+------+----------------+--
func (v *View) Stream(w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 256<<10)
	s := &stream{w: buffered}
	if err := s.value(&structs.SnapshotHeader{LastIndex: v.reader.LastIndex()}); err != nil {
		return err
	}
	for _, r := range records {
		if r.kind == structs.ChunkingStateType {
			if err := unlisted(s, v); err != nil {
				return err
			}
		}
		if err := r.write(s, v); err != nil {
			return err
		}
	}
	return buffered.Flush()
}

// LastIndex is the highest raft index at which any table changed.
func (v *View) LastIndex() uint64 { return v.reader.LastIndex() }

// Hash is the SHA-256 of the view's stream: equal states have equal hashes.
func (v *View) Hash() [sha256.Size]byte {
	h := sha256.New()
	if err := v.Stream(h); err != nil {
		panic("fsm: " + err.Error()) // a hash takes every byte
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// stream writes records.
type stream struct {
	w   *bufio.Writer
	buf []byte
}

func (s *stream) record(kind structs.MessageType, v any) error {
	if err := s.w.WriteByte(byte(kind)); err != nil {
		return err
	}
	return s.value(v)
}

func (s *stream) raw(kind structs.MessageType, value []byte) error {
	if err := s.w.WriteByte(byte(kind)); err != nil {
		return err
	}
	_, err := s.w.Write(value)
	return err
}

func (s *stream) value(v any) (err error) {
	if s.buf, err = structs.AppendValue(s.buf[:0], v); err != nil {
		return err
	}
	_, err = s.w.Write(s.buf)
	return err
}

// Record is one record of a snapshot stream.
type Record struct {
	Kind  structs.MessageType
	Value []byte // one msgpack value, good until the next record
}

// maxRecord bounds one record in bytes; memory grows only with what arrives.
const maxRecord = math.MaxInt32

// Records reads a snapshot stream: its header, then a sequence that ends with
// the stream or after yielding an error. Errors have code Corrupt and say where
// in the stream they are, in bytes.
func Records(r io.Reader) (structs.SnapshotHeader, iter.Seq2[Record, error]) {
	in := &counter{r: bufio.NewReaderSize(r, 256<<10)}
	var header structs.SnapshotHeader
	value, err := structs.ReadValue(in, nil, 1<<10)
	if err == nil {
		err = structs.DecodeValue(value, &header)
	}
	if err != nil {
		err = structs.Errorf(structs.Corrupt, "this is not a snapshot stream: its header cannot be read: %v", err)
		return header, func(yield func(Record, error) bool) { yield(Record{}, err) }
	}
	return header, func(yield func(Record, error) bool) {
		for n := 1; ; n++ {
			start := in.n
			kind, err := in.ReadByte()
			if err == io.EOF {
				return
			}
			if err == nil {
				if value, err = structs.ReadValue(in, value[:0], maxRecord); err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
			}
			if err != nil {
				yield(Record{}, structs.Errorf(structs.Corrupt, "snapshot record %d (%v) at byte %d: %v", n, structs.MessageType(kind), start, err))
				return
			}
			if !yield(Record{structs.MessageType(kind), value}, nil) {
				return
			}
		}
	}
}

// counter knows how far into a stream it is.
type counter struct {
	r *bufio.Reader
	n int64
}

// Read reads from the stream.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// ReadByte reads one byte from the stream.
func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
