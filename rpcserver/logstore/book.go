package logstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// book is the file that the record is in.
//
//	page 0   record with an odd sequence number
//	page 1   record with an even one
//	page 2   hint: sequence u64 of the record it goes with, newest entry u64, CRC32C of both
//
// A record is written over the older of the two, and synced: so one of them is
// whole at any time, and the newer one counts.
//
// The hint follows each append and is not synced, which would double the cost of
// an append. It survives the end of the process. A power failure may lose it, or
// tear it: then the record says of fewer entries that they must be there than it
// could, and never of more.
type book struct {
	file   bookFile
	record record // the one that counts, with what the hint says
}

// bookFile is an *os.File, or a test's.
type bookFile interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Close() error
}

const (
	bookPage = 4096
	hintAt   = 2 * bookPage
	hintSize = 8 + 8 + 4
	bookSize = hintAt + bookPage
)

func bookPath(dir string) string { return filepath.Join(dir, "record") }

// openBook reads the record. Sure says that it is the newest one ever written:
// with only one of two that can be read, a newer one may have been damaged.
func openBook(file bookFile) (b book, sure bool, err error) {
	content := make([]byte, bookSize)
	if _, err := file.ReadAt(content, 0); err != nil && err != io.EOF {
		return b, false, err
	}
	found := 0
	for i := range 2 {
		r, err := decodeRecord(content[i*bookPage:][:bookPage])
		if errors.Is(err, errNoRecord) {
			continue
		}
		if err != nil {
			return b, false, err
		}
		if found++; found == 1 || r.sequence > b.record.sequence {
			b.record = r
		}
	}
	if found == 0 {
		return b, false, errors.New("nothing of it can be read")
	}
	if sequence, last := decodeHint(content[hintAt:]); sequence == b.record.sequence {
		b.record.last = max(b.record.last, last)
	}
	b.file = file
	return b, found == 2, nil
}

func decodeHint(b []byte) (sequence, last uint64) {
	if crc32.Checksum(b[:16], castagnoli) != binary.BigEndian.Uint32(b[16:]) {
		return 0, 0
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
}

// write makes r the record that counts, for good.
func (b *book) write(r record) error {
	r.sequence = b.record.sequence + 1
	if _, err := b.file.WriteAt(r.encode(), int64((r.sequence+1)%2*bookPage)); err != nil {
		return err
	}
	if err := b.file.Sync(); err != nil {
		return err
	}
	b.record = r
	return nil
}

// hint says that the newest entry is another one now. That it was written is all
// that is known when it returns.
func (b *book) hint(last uint64) error {
	var h [hintSize]byte
	binary.BigEndian.PutUint64(h[:], b.record.sequence)
	binary.BigEndian.PutUint64(h[8:], last)
	binary.BigEndian.PutUint32(h[16:], crc32.Checksum(h[:16], castagnoli))
	b.record.last = last
	_, err := b.file.WriteAt(h[:], hintAt)
	return err
}

// makeBook makes the file, all of it or nothing.
func makeBook(dir string, r record) (b book, err error) {
	path := bookPath(dir)
	file, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return b, err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(path + ".new")
		}
	}()
	if _, err := file.WriteAt(make([]byte, bookSize), 0); err != nil { // it needs no more space later on
		return b, err
	}
	b.file = file
	for range 2 {
		if err := b.write(r); err != nil {
			return b, err
		}
	}
	if err := os.Rename(path+".new", path); err != nil {
		return b, err
	}
	return b, syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
