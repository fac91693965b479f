package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-uuid"
)

// dataDir is the directory of everything durable, locked against other agents.
// In it are node-id, a UUID in text; praetor.lock with our pid; and what the
// server keeps there. The nil dataDir is that of a server without one.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir creates the directory if need be and locks it. The lock goes with
// the process, however that ends; the file stays. Nothing else is touched.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, dirError(path, err)
	}
	file, err := os.OpenFile(filepath.Join(path, "praetor.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, dirError(path, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			owner, _ := io.ReadAll(io.LimitReader(file, 20))
			return nil, fmt.Errorf("data directory %s is in use by another praetor agent (pid %s): stop it, or set -data-dir or data_dir",
				path, strings.TrimSpace(string(owner)))
		}
		return nil, dirError(path, fmt.Errorf("lock: %w", err))
	}
	d := &dataDir{path, file}
	err = file.Truncate(0)
	if err == nil || errors.Is(err, syscall.EINVAL) { // not a regular file
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		d.close()
		return nil, dirError(path, err)
	}
	return d, nil
}

// dirError says what is wrong with the directory, and what to do about it.
func dirError(path string, err error) error {
	what := ""
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		what = "is not a directory"
	case errors.Is(err, fs.ErrPermission):
		what = "may not be written to by user " + strconv.Itoa(os.Geteuid())
		if info, statErr := os.Stat(path); statErr == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
				what += fmt.Sprintf(", it belongs to user %d", stat.Uid)
			}
		}
	case errors.Is(err, syscall.EROFS):
		what = "is on a read-only file system"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		what = "has no space left: make room on its disk"
	default:
		return fmt.Errorf("cannot use data directory %s (data_dir, -data-dir): %w", path, err)
	}
	return fmt.Errorf("data directory %s (data_dir, -data-dir) %s: %w", path, what, err)
}

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// nodeID returns the configured id, else the one on disk, else a new one, and
// sees to it that the same one is on disk from now on.
func (d *dataDir) nodeID(configured string, logger hclog.Logger) (string, error) {
	if d == nil {
		if configured != "" {
			return configured, nil
		}
		return uuid.GenerateUUID()
	}
	file := filepath.Join(d.path, "node-id")
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", dirError(d.path, err)
	}
	stored := strings.ToLower(strings.TrimSpace(string(text)))
	switch damaged := err == nil && !uuidText.MatchString(stored); {
	case damaged && configured == "":
		return "", fmt.Errorf("%s is damaged: it must hold the UUID that names this server in its cluster; "+
			"write that into it or into node_id (-node-id), or remove the file to come as a new server", file)
	case stored == configured && configured != "", stored != "" && configured == "":
		return stored, nil
	case stored != "" && !damaged:
		logger.Warn("node_id is not the id that this data directory had: to the cluster this is another server now",
			"id", configured, "before", stored)
	}
	id := configured
	if id == "" {
		if id, err = uuid.GenerateUUID(); err != nil {
			return "", fmt.Errorf("make a node id: %w", err)
		}
	}
	if err := writeFile(file, id, 0o600); err != nil {
		return "", dirError(d.path, err)
	}
	return id, nil
}

// close gives the directory back.
func (d *dataDir) close() {
	if d != nil {
		d.lock.Close()
	}
}

// writeFile puts text into a file so that a crash leaves the old or the new one.
func writeFile(name, text string, mode fs.FileMode) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = file.WriteString(text)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(file.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
