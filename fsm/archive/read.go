package archive

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// Read reads a whole archive from r, writes its state.bin to state as it comes, and returns its metadata.
// It reads r to the end. Until Read has returned without an error, state holds unproven bytes.
func Read(r io.Reader, state io.Writer) (*raft.SnapshotMeta, error) {
	in, out := &source{r: r}, &sink{w: state}
	meta, err := read(in, out)
	switch {
	case err == nil:
		return meta, nil
	case in.err != nil:
		return nil, fmt.Errorf("read snapshot archive: %w", in.err)
	case out.err != nil:
		return nil, fmt.Errorf("write snapshot state: %w", out.err)
	}
	return nil, corruptError{err}
}

// Decode is Read for a caller who uses the state as it comes. What is wrong with the archive is told before what use
// returns, which may be the consequence.
func Decode(r io.Reader, use func(state io.Reader) error) (*raft.SnapshotMeta, error) {
	state, w := io.Pipe()
	used := make(chan error, 1)
	go func() {
		err := use(state)
		_, _ = io.Copy(io.Discard, state) // the archive's own checks go on
		used <- err
	}()
	meta, err := Read(r, w)
	_ = w.CloseWithError(err)
	if useErr := <-used; err == nil {
		err = useErr
	}
	if err != nil {
		return nil, err
	}
	return meta, nil
}

// Verify is Read for a caller who only wants to know whether the archive is sound.
func Verify(r io.Reader) (*raft.SnapshotMeta, error) {
	return Read(r, io.Discard)
}

// read returns plain errors; Read knows whose fault they are. The texts that Consul has too are Consul's.
func read(in io.Reader, state io.Writer) (*raft.SnapshotMeta, error) {
	z, err := newInflater(in)
	if err != nil {
		return nil, err
	}
	m := &members{state: state, sums: make(map[string][]byte)}
	if err := m.readAll(tar.NewReader(z)); err != nil {
		if z.err != nil { // the tar reader only passes it on
			return nil, z.err
		}
		return nil, err
	}
	if err := m.checkSums(); err != nil {
		return nil, fmt.Errorf("failed checking integrity of snapshot: %w", err)
	}
	n, err := io.Copy(io.Discard, z) // also makes gzip check its own checksum
	if err != nil {
		return nil, err
	}
	if n > 0 {
		return nil, fmt.Errorf("%d unread uncompressed bytes remain", n)
	}

	var meta raft.SnapshotMeta
	if err := json.Unmarshal(m.meta, &meta); err != nil {
		return nil, fmt.Errorf("failed to decode snapshot metadata: %w", err)
	}
	if err := checkMeta(&meta); err != nil {
		return nil, err
	}
	if m.stateSize != meta.Size {
		return nil, fmt.Errorf("failed checking integrity of snapshot: size didn't match, %s has %d bytes and %s says %d",
			stateName, m.stateSize, metaName, meta.Size)
	}
	return &meta, nil
}

// source and sink remember that reading or writing failed, which is not the archive's fault.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil { // a reader that recovers has lost bytes on the way
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}
