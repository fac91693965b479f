package archive

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// inflater decompresses to the very end of its input. Gzip files may be concatenated, so there can be several streams;
// it goes through them itself, because gzip.Reader has one error for a foreign file and for garbage after a good one.
type inflater struct {
	in  *bufio.Reader
	zip *gzip.Reader
	err error // why decompression ended, if not at the end of the file
}

func newInflater(r io.Reader) (*inflater, error) {
	z := &inflater{in: bufio.NewReaderSize(r, 64<<10)}
	magic, err := z.in.Peek(2)
	switch {
	case len(magic) == 0 && errors.Is(err, io.EOF):
		return nil, z.fail(errors.New("the file is empty"))
	case len(magic) > 0 && magic[0] != 0x1f, len(magic) > 1 && magic[1] != 0x8b:
		return nil, z.fail(fmt.Errorf("%w (not a gzip file)", gzip.ErrHeader))
	}
	if z.zip, err = gzip.NewReader(z.in); err != nil {
		return nil, z.fail(explain(err))
	}
	z.zip.Multistream(false)
	return z, nil
}

func (z *inflater) Read(p []byte) (int, error) {
	for z.err == nil {
		n, err := z.zip.Read(p)
		if errors.Is(err, io.EOF) {
			err = z.next()
			if errors.Is(err, io.EOF) {
				return n, io.EOF
			}
		} else if err != nil {
			err = z.fail(explain(err))
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, z.err
}

// next goes to the stream after the one that has ended; io.EOF means that the file has ended too.
func (z *inflater) next() error {
	if _, err := z.in.Peek(1); errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err := z.zip.Reset(z.in); err != nil {
		return z.fail(fmt.Errorf("the file goes on after the end of the snapshot: %w", err))
	}
	z.zip.Multistream(false)
	return nil
}

func (z *inflater) fail(err error) error {
	z.err = fmt.Errorf("failed to decompress snapshot: %w", err)
	return z.err
}

func explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w (the file ends early)", io.ErrUnexpectedEOF)
	}
	return err
}
