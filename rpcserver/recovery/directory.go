package recovery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"praetor/structs"
)

// directory is a data directory with its lock: the one that a server holds
// while it runs (see agent/datadir.go).
type directory struct {
	path string   // as it was given
	file *os.File // nil: the directory has no lock, so no server of ours has run on it
}

func lock(dataDir string) (*directory, error) {
	path := filepath.Clean(dataDir)
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, structs.Errorf(structs.NotFound, "there is no directory %s", dataDir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, structs.Errorf(structs.Invalid, "%s is not a directory", dataDir)
	}
	file, err := os.Open(filepath.Join(path, "praetor.lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return &directory{path: path}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dataDir, err)
		}
		owner, _ := io.ReadAll(io.LimitReader(file, 20))
		return nil, structs.Errorf(structs.Busy, "a server (pid %s) runs on %s: stop it first, and all other servers that are left",
			strings.TrimSpace(string(owner)), dataDir)
	}
	return &directory{path, file}, nil
}

func (d *directory) close() {
	if d.file != nil {
		d.file.Close()
	}
}

// write puts text into a file of the raft directory so that a crash leaves the
// old or the new one. It belongs to whom the directory belongs to: the server
// may run as another user than the operator.
func (d *directory) write(name, text string) (err error) {
	dir := filepath.Join(d.path, "raft")
	file, err := os.CreateTemp(dir, name+".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	info, err := os.Stat(dir)
	if err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
			err = file.Chown(int(owner.Uid), int(owner.Gid))
		}
	}
	if err == nil {
		_, err = file.WriteString(text)
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	parent, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}
