package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxSmallMember bounds meta.json and SHA256SUMS, which are held in memory. Consul writes a few hundred bytes.
const maxSmallMember = 1 << 20

// copyPiece is how much is passed on at a time: each costs a write, and wakes whoever takes it.
const copyPiece = 256 << 10

// members is what a walk through the tar collects.
type members struct {
	state     io.Writer
	stateSize int64
	meta      []byte
	sumsFile  []byte
	sums      map[string][]byte // SHA-256 of every member seen, SHA256SUMS included
}

func (m *members) readAll(t *tar.Reader) error {
	for first := true; ; first = false {
		header, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && first:
			return errors.New("failed reading snapshot: the tar inside has no members")
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("failed reading snapshot: the tar inside ends early: %w", err)
		case err != nil && first:
			return fmt.Errorf("failed reading snapshot: there is no tar inside: %w", err)
		case err != nil:
			return fmt.Errorf("failed reading snapshot: the tar inside is damaged: %w", err)
		}
		if err := m.read(header, t); err != nil {
			return err
		}
	}
}

func (m *members) read(header *tar.Header, content io.Reader) error {
	name := header.Name
	if name != metaName && name != stateName && name != sumsName {
		return fmt.Errorf("unexpected file %q in snapshot", name)
	}
	if m.sums[name] != nil {
		return fmt.Errorf("file %q is in snapshot twice", name)
	}
	if !isPlain(header) {
		return fmt.Errorf("file %q in snapshot is not a regular file", name)
	}
	if name != stateName && header.Size > maxSmallMember {
		return fmt.Errorf("file %q in snapshot is too large: %d bytes, the limit is %d", name, header.Size, maxSmallMember)
	}

	sum := sha256.New()
	var small bytes.Buffer
	var to io.Writer = &small
	if name == stateName {
		to = m.state
	}
	n, err := io.CopyBuffer(io.MultiWriter(to, sum), content, make([]byte, 1+min(header.Size, copyPiece-1)))
	if err != nil {
		return fmt.Errorf("failed reading snapshot: %q ends early: %w", name, err)
	}
	m.sums[name] = sum.Sum(nil)
	switch name {
	case metaName:
		m.meta = small.Bytes()
	case sumsName:
		m.sumsFile = small.Bytes()
	case stateName:
		m.stateSize = n
	}
	return nil
}

// isPlain is false for links and the like, and for sparse files, whose few bytes can claim to be any number of zeros.
func isPlain(header *tar.Header) bool {
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return false
		}
	}
	return header.Typeflag == tar.TypeReg
}

func (m *members) checkSums() error {
	if m.sums[sumsName] == nil {
		return fmt.Errorf("%s is missing", sumsName)
	}
	listed := make(map[string]bool)
	for line := range strings.Lines(string(m.sumsFile)) {
		text, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		want, err := hex.DecodeString(text)
		if !ok || err != nil || len(want) != sha256.Size {
			return fmt.Errorf("%s has a line that is no checksum: %.100q", sumsName, line)
		}
		if name != metaName && name != stateName {
			return fmt.Errorf("list missing hash for %q: %s names it, but it is no part of a snapshot", name, sumsName)
		}
		got := m.sums[name]
		if got == nil {
			return fmt.Errorf("hash check failed for %q: it is not in the archive", name)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("hash check failed for %q", name)
		}
		listed[name] = true
	}
	for _, name := range []string{metaName, stateName} {
		if !listed[name] {
			return fmt.Errorf("file missing for %q: %s does not list it", name, sumsName)
		}
	}
	return nil
}
