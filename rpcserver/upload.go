package rpcserver

import (
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

// upload is a snapshot on its way into raft: a stream that has been verified and
// loaded as a whole, in a file. Raft reads it from start to end and writes it to
// a sink of indexedSnapshots, which may take the file as it is instead.
type upload struct {
	spooled *archive.Spooled
	meta    raft.SnapshotMeta
	sum     hash.Hash64 // CRC-64 of what was written to the file, as in raft's meta.json
	loaded  *fsm.Loaded
	dropped structs.Dropped

	early   earlySync
	loading *fsm.Loading
}

// uploadDir is where uploads are spooled: on the same disk as snapshots.
func (s *Server) uploadDir() string {
	if s.config.DataDir == "" {
		return os.TempDir()
	}
	return filepath.Join(s.config.DataDir, "raft")
}

// receive verifies an archive while it comes in, and loads it. What is wrong
// with the archive is told before what is wrong with the stream in it, which may
// be the consequence. Close the upload.
func receive(dir string, in io.Reader, skipEnterprise bool) (_ *upload, err error) {
	epoch, err := newEpoch()
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	u := &upload{sum: crc64.New(ecma), loading: fsm.StartLoad()}
	if skipEnterprise {
		err = u.fillWithoutEnterprise(dir, in)
	} else {
		err = u.fill(dir, in)
	}
	if errors.Is(err, archive.ErrCorrupt) {
		err = structs.Errorf(structs.Corrupt, "%v", err)
	}
	if err == nil {
		err = u.end(epoch)
	}
	if u.loaded, err = u.loading.Finish(err); err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (u *upload) create(dir string) (err error) {
	if u.spooled, err = archive.NewSpool(dir); err == nil {
		u.early.sync = u.spooled.File.Sync
	}
	return err
}

func (u *upload) fill(dir string, in io.Reader) error {
	if err := u.create(dir); err != nil {
		return err
	}
	return u.spooled.Fill(in, u)
}

// fillWithoutEnterprise leaves the records of Consul Enterprise out, once it is
// known that the archive is sound.
func (u *upload) fillWithoutEnterprise(dir string, in io.Reader) error {
	whole, err := archive.Spool(dir, in)
	if err != nil {
		return err
	}
	defer whole.Close()
	if err := u.create(dir); err != nil {
		return err
	}
	u.spooled.Meta = whole.Meta
	u.dropped, err = fsm.WithoutEnterprise(io.MultiWriter(u.spooled.File, u), whole.File)
	return err
}

// Write is told what has been written to the file.
func (u *upload) Write(p []byte) (int, error) {
	u.early.wrote(len(p))
	u.sum.Write(p)
	return u.loading.Write(p)
}

// end puts a record behind the stream: a restore begins an epoch.
func (u *upload) end(epoch []byte) (err error) {
	u.meta = *u.spooled.Meta
	if _, err = u.spooled.File.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	if _, err = io.MultiWriter(u.spooled.File, u).Write(epoch); err != nil {
		return err
	}
	u.meta.Size, err = u.spooled.File.Seek(0, io.SeekCurrent)
	return err
}

// close gives up the file, unless a sink has linked it.
func (u *upload) close() {
	_ = u.early.end()
	if u.spooled != nil {
		u.spooled.Close()
	}
}

// taker is a sink that takes an upload instead of being written to.
type taker interface {
	take(u *upload) error
}

// WriteTo is how raft copies the upload to a sink.
func (u *upload) WriteTo(sink io.Writer) (int64, error) {
	t, ok := sink.(taker)
	if !ok {
		return 0, fmt.Errorf("a restore into a %T", sink)
	}
	return u.meta.Size, t.take(u)
}

// Read is not called: io.Copy, which raft does, prefers WriteTo.
func (u *upload) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// copyTo writes the file to a sink. It fails at its end if that was not what was
// verified and loaded.
func (u *upload) copyTo(sink io.Writer) error {
	if _, err := u.spooled.File.Seek(0, io.SeekStart); err != nil {
		return err
	}
	again := crc64.New(ecma)
	if _, err := io.Copy(io.MultiWriter(sink, again), u.spooled.File); err != nil {
		return err
	}
	if again.Sum64() != u.sum.Sum64() {
		return fmt.Errorf("what was read back from the disk is not what was verified before")
	}
	return nil
}
