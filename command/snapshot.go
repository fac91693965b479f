package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/raft"
	"github.com/posener/complete"

	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

var snapshotHelp = help{`
A snapshot is the whole state of a cluster in one file, at one point in time. The files are Consul's: each can restore
the other's.`,
	[]string{`snapshot save backup.snap`, `snapshot verify backup.snap`, `snapshot diff yesterday.snap today.snap`, `snapshot restore backup.snap`,
		`snapshot restore -prefix=app/ -dry-run backup.snap`},
}

// loadArchive reads a snapshot as a server does that restores it.
func loadArchive(r io.Reader, skipEnterprise bool) (meta *raft.SnapshotMeta, dropped structs.Dropped, err error) {
	meta, err = archive.Decode(r, func(state io.Reader) (err error) {
		if skipEnterprise {
			_, dropped, err = fsm.LoadWithoutEnterprise(state)
		} else {
			_, err = fsm.Load(state)
		}
		return err
	})
	return meta, dropped, err
}

func snapshotSave(v *verb) {
	v.operands = []string{"FILE"}
	v.complete = complete.PredictFiles("*.snap")
	v.help = help{`
Saves the cluster's state to FILE, then reads it back as a restore would. Until that has worked the file is called
FILE.unverified, and what FILE was before stays. A file that does not pass is kept under that name, to look at.`,
		[]string{`snapshot save backup.snap`, `snapshot save -append-filename=dc,version backup.snap`, `snapshot save -stale backup.snap    # without a leader`},
	}
	appends := v.flags.String("append-filename", "", "Put these into the file's name, before its extension: a comma-separated `list` of version, dc, node and status.")
	v.run = func(operands []string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		path, err := appendToName(client, operands[0], *appends)
		if err != nil {
			return err
		}
		if err := create(path+".unverified", func(file io.Writer) error { return v.download(client, file) }); err != nil {
			return err
		}
		meta, err := v.publish(path+".unverified", path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(v.stdout, "Saved and verified snapshot to index %d\n", meta.Index)
		return err
	}
}

// create writes a new file at path, durably; nothing stays if that fails.
func create(path string, write func(io.Writer) error) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("creating snapshot file: %w", err)
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	if err := write(file); err != nil {
		return err
	}
	return file.Sync()
}

// download writes a new snapshot of the cluster.
func (v *verb) download(client *api.Client, file io.Writer) error {
	body, _, err := client.Snapshot().Save(v.connection.read())
	if err != nil {
		return fmt.Errorf("saving snapshot: %w", err)
	}
	defer body.Close()
	m := v.meter("Saving", 0)
	defer m.clear()
	if _, err := io.Copy(file, m.reader(body)); err != nil {
		return fmt.Errorf("saving snapshot: it did not arrive whole: %w", err)
	}
	return nil
}

// publish verifies the file at temporary and gives it its name.
func (v *verb) publish(temporary, path string) (*raft.SnapshotMeta, error) {
	meta, _, err := v.verifyFile(temporary, false)
	if err != nil {
		return nil, fmt.Errorf("verifying snapshot file, kept as %s: %w", temporary, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return nil, fmt.Errorf("renaming snapshot file: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("making the new name last: %w", err)
	}
	defer dir.Close()
	_ = dir.Sync() // not every file system can
	return meta, nil
}

func (v *verb) verifyFile(path string, skipEnterprise bool) (*raft.SnapshotMeta, structs.Dropped, error) {
	file, length, err := v.open([]string{"@" + path})
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, nil, errDirectory(path)
	}
	m := v.meter("Verifying", length)
	defer m.clear()
	return loadArchive(m.reader(file), skipEnterprise)
}

// appendToName puts facts about the server before the extension, in the order
// in which they are listed.
func appendToName(client *api.Client, path, list string) (string, error) {
	if list == "" {
		return path, nil
	}
	self, err := client.Agent().Self()
	if err != nil {
		return "", fmt.Errorf("querying the server: %w", err)
	}
	extension := filepath.Ext(path)
	name := strings.TrimSuffix(path, extension)
	for what := range strings.SplitSeq(list, ",") {
		switch strings.TrimSpace(what) {
		case "version":
			name += fmt.Sprintf("-%v", self["Config"]["Version"])
		case "dc":
			name += fmt.Sprintf("-%v", self["Config"]["Datacenter"])
		case "node":
			name += fmt.Sprintf("-%v", self["Config"]["NodeName"])
		case "status":
			status := "follower"
			if server, _ := self["Stats"]["consul"].(map[string]any); server["leader"] == "true" {
				status = "leader"
			}
			name += "-" + status
		default:
			return "", misusef("-append-filename knows version, dc, node and status, not %q", what)
		}
	}
	return name + extension, nil
}
