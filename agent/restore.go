package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"praetor/agent/backup"
	"praetor/agent/backup/journal"
	"praetor/fsm/archive"
	"praetor/structs"
)

// restoreTime is how long a new cluster of one may take to have a leader.
const restoreTime = time.Minute

// restoringMark says, in the data directory, that the state beside it is that of
// a start from a backup which did not get to its end.
const restoringMark = "restoring"

// restoration is a backup that is to become the state of a new cluster. The nil
// restoration does nothing.
type restoration struct {
	file *os.File // a verified archive, at its start
	mark string
	name string

	release func() // lets backups of the new cluster be taken
}

// fetchBackup gets and verifies the backup that this server shall start a new
// cluster from, before there is any cluster. It refuses to touch a state.
func (a *Agent) fetchBackup() (r *restoration, err error) {
	from, dir := a.options.RestoreFrom, a.config.DataDir
	mark := filepath.Join(dir, restoringMark)
	_, markErr := os.Stat(mark)
	broken := dir != "" && markErr == nil
	switch {
	case from == "" && broken:
		return nil, structs.Errorf(structs.Conflict,
			"the start from a backup did not get to its end in %s: start again with -restore-from, or delete its raft directory and %s to start empty", dir, mark)
	case from == "":
		return nil, nil
	case !a.config.Bootstrap:
		return nil, structs.Errorf(structs.Invalid, "-restore-from starts a new cluster: use it with -server -bootstrap, and let the other servers join")
	case dir == "":
		return nil, structs.Errorf(structs.Invalid, "-restore-from needs a data directory: -dev keeps everything in memory")
	case broken: // nobody was served from it
		if err := os.RemoveAll(filepath.Join(dir, "raft")); err != nil {
			return nil, dirError(dir, err)
		}
	default:
		if state := stateIn(dir); state != "" {
			return nil, structs.Errorf(structs.Conflict,
				"-restore-from starts a new cluster, and %s has a state already (%s): to replace the state of the running cluster use 'praetor backup restore', to start anew use an empty data directory",
				dir, state)
		}
	}
	file, err := os.CreateTemp(dir, "restore-*.tmp")
	if err != nil {
		return nil, dirError(dir, err)
	}
	os.Remove(file.Name()) // it lives while it is open
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	a.logger.Info("fetching the backup to start from", "from", withoutSecrets(from))
	name, err := a.download(from, file)
	if err != nil {
		return nil, fmt.Errorf("-restore-from: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("-restore-from: %w", err)
	}
	if err := writeFile(mark, name+"\n", 0o600); err != nil {
		return nil, dirError(dir, err)
	}
	return &restoration{file, mark, name, a.backups.Hold()}, nil
}

// download writes a verified archive to w.
func (a *Agent) download(from string, w io.Writer) (name string, err error) {
	if file, err := os.Open(from); err == nil && strings.HasSuffix(from, ".snap") {
		defer file.Close()
		if _, err := archive.Verify(io.TeeReader(file, w)); err != nil { // the server decodes it again before it takes it over
			return "", fmt.Errorf("%s: %w", from, err)
		}
		return from, nil
	}
	where, name := "", from
	if strings.Contains(from, "://") || strings.HasPrefix(from, "/") || strings.HasPrefix(from, ".") {
		where, name, _ = strings.Cut(from, "#")
	} else if a.config.Backup.Target == "" {
		return "", structs.Errorf(structs.Invalid, "%q is a backup at the configured target, and there is none: set backup.target, or name the target's URL", from)
	}
	target, err := BackupTarget(a.config.Backup, where)
	if err != nil {
		return "", err
	}
	records, err := backup.List(a.ctx, target)
	if err != nil {
		return "", err
	}
	record, err := backup.Find(records, name)
	if structs.IsCode(err, structs.NotFound) && where == "" && strings.HasSuffix(name, ".snap") {
		return "", structs.Errorf(structs.NotFound, "there is neither a file %s nor a backup of that name at the target", name)
	}
	if err != nil {
		return "", err
	}
	if name != "" && name != "latest" {
		return record.Name, backup.Fetch(a.ctx, target, record, w)
	}
	// The newest state there is: the backup with all of the log that was archived behind it.
	result, err := journal.Rebuild(a.ctx, target, journal.Point{}, a.config.DataDir, w)
	if structs.IsCode(err, structs.Invalid) {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("%w: to leave out the log, name the backup, as in -restore-from=%s", err, record.Name)
	}
	for _, note := range result.Notes {
		a.logger.Warn(note)
	}
	a.logger.Info("built the newest state", "backup", result.Backup, "index", result.Index, "written", result.Time, "entries_of_log", result.Replayed)
	return result.Backup, nil
}

// stateIn returns what of a server's state there is in a data directory, "" if nothing.
func stateIn(dir string) string {
	for _, pattern := range []string{"raft/raft.db", "raft/wal*", "raft/snapshots/*", "raft/*.wal"} {
		if found, _ := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern))); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

func (r *restoration) close() {
	if r != nil {
		r.file.Close()
	}
}

// into makes the backup the state of the agent's server, which nobody can ask
// anything yet over HTTP.
func (r *restoration) into(a *Agent) error {
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(a.ctx, restoreTime)
	defer cancel()
	if err := a.server.StartFrom(ctx, r.file); err != nil {
		return fmt.Errorf("-restore-from: restore backup %s: %w", r.name, err)
	}
	if err := removeForGood(r.mark); err != nil { // else it would ask to start over, after writes were acknowledged
		return fmt.Errorf("-restore-from: %w", err)
	}
	r.release()
	a.logger.Warn("this is a new cluster, started from a backup", "backup", r.name)
	return nil
}

// removeForGood removes a file so that a crash does not bring it back.
func removeForGood(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
