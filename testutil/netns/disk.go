//go:build linux

package netns

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a file system of its own for a data directory.
type Disk struct {
	t     testing.TB
	image string // "" for a tmpfs
	Dir   string // where it is mounted
}

// newDir makes a directory that sweep finds by its name.
func newDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", fmt.Sprint(prefix, os.Getpid(), "-"))
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// NewTmpfs mounts a tmpfs of so many bytes, which can be full.
func NewTmpfs(t testing.TB, size int64) *Disk {
	t.Helper()
	Require(t)
	d := &Disk{t: t, Dir: filepath.Join(newDir(t), "data")}
	must(t, os.Mkdir(d.Dir, 0o700))
	must(t, sh("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size), "praetor-test", d.Dir))
	t.Cleanup(func() { sh("umount", d.Dir) })
	return d
}

// Fill takes what space is left, and returns what gives it back. ext4 may hand
// the space out a little later, when its journal has committed.
func (d *Disk) Fill() (free func()) {
	d.t.Helper()
	name := filepath.Join(d.Dir, "ballast")
	file, err := os.Create(name)
	must(d.t, err)
	defer file.Close()
	size := int64(0)
	for piece := int64(64 << 20); piece >= 1<<10; {
		if err := syscall.Fallocate(int(file.Fd()), 0, size, piece); err != nil {
			piece /= 2
			continue
		}
		size += piece
	}
	return func() { must(d.t, os.Remove(name)) }
}

// NewDurable mounts a file system of so many bytes that can lose power. It is
// an ext4 in a file: what is fsynced is written to the file, and what is not
// stays in the kernel's memory.
func NewDurable(t testing.TB, size int64) *Disk {
	t.Helper()
	Require(t)
	dir := newDir(t)
	d := &Disk{t: t, image: filepath.Join(dir, "image"), Dir: filepath.Join(dir, "data")}
	must(t, makeImage(d.image, size))
	must(t, os.Mkdir(d.Dir, 0o700))
	must(t, mountImage(d.image, d.Dir))
	t.Cleanup(func() { sh("umount", d.Dir) })
	return d
}

// LosePower makes the directory what it is after a loss of power: the file
// system as it reached the device, its journal replayed. Call it when the server
// has been killed and is gone. What the kernel has written back on its own,
// after 30 s, is there as well, as it would be.
//
// It is kinder than a device that forgets what it has confirmed without a
// flush, or writes half of a block.
func (d *Disk) LosePower() {
	d.t.Helper()
	// Unmounting writes everything back, so the copy is made before.
	after := d.image + ".after"
	must(d.t, copySparse(d.image, after))
	must(d.t, sh("umount", d.Dir))
	must(d.t, os.Rename(after, d.image))
	must(d.t, mountImage(d.image, d.Dir))
}

func makeImage(image string, size int64) error {
	file, err := os.Create(image)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		return err
	}
	return sh("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
}

// mountImage leaves out what ext4 does for programs that forget a fsync: a
// commit every 5 s, data before the metadata that speak of it, and a flush of a
// file that is renamed over another one.
func mountImage(image, dir string) error {
	return sh("mount", "-o", "loop,commit=600,data=writeback,noauto_da_alloc,nodiscard", image, dir)
}

// copySparse copies a file, but not its blocks of zeros.
func copySparse(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	block, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; at += int64(len(block)) {
		n, err := io.ReadFull(in, block)
		if n > 0 && string(block[:n]) != string(zeros[:n]) {
			if _, err := out.WriteAt(block[:n], at); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
