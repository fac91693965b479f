package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"praetor/structs"
)

// localDisk is the data directory as far as it remembers what was registered
// over HTTP; "" remembers nothing. As in Consul, each thing has a file of JSON
// that is called after the SHA-256 sum of its id:
//
//	services/<sum>       {"Token", "Service": NodeService, "Source": "remote"}
//	checks/<sum>         {"Check": HealthCheck, "ChkType": {"TTL", ...}, "Token", "Source": "remote"}
//	checks/state/<sum>   {"CheckID", "Status", "Output", "Expires": unix seconds}
//
// The state of a check is written at every report. It may be lost in a crash of
// the machine; the check is then critical until the next one.
type localDisk string

// storedService is what the file of a service holds.
type storedService struct {
	Token   string
	Service *structs.NodeService
	Source  string
}

// storedCheck is what the file of a check holds.
type storedCheck struct {
	Check   *structs.HealthCheck
	ChkType struct{ TTL, DeregisterCriticalServiceAfter structs.Duration }
	Token   string
	Source  string
}

// storedState is what the file of a check's state holds.
type storedState struct {
	CheckID string
	Status  string
	Output  string
	Expires int64 // unix seconds, when the check's time is up
}

const (
	servicesDir = "services"
	checksDir   = "checks"
	statesDir   = "checks/state"
)

// open makes the directories.
func (d localDisk) open() error {
	for _, dir := range []string{servicesDir, statesDir} {
		if d == "" {
			return nil
		}
		if err := os.MkdirAll(filepath.Join(string(d), dir), 0o700); err != nil {
			return dirError(string(d), err)
		}
	}
	return nil
}

func (d localDisk) file(dir, id string) string {
	sum := sha256.Sum256([]byte(structs.FoldName(id)))
	return filepath.Join(string(d), dir, hex.EncodeToString(sum[:]))
}

func (d localDisk) put(dir, id string, v any) error {
	if d == "" {
		return nil
	}
	text, err := json.Marshal(v)
	if err == nil {
		err = writeFile(d.file(dir, id), string(text), 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot write %q into %s of the data directory: %w", id, dir, err)
	}
	return nil
}

func (d localDisk) remove(dir, id string) error {
	if d == "" {
		return nil
	}
	if err := os.Remove(d.file(dir, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %q from %s of the data directory: %w", id, dir, err)
	}
	return nil
}

func (d localDisk) putService(row *structs.NodeService, token string) error {
	return d.put(servicesDir, row.ID, storedService{Token: token, Service: row, Source: "remote"})
}

func (d localDisk) removeService(id string) error { return d.remove(servicesDir, id) }

func (d localDisk) putCheck(c *storedCheck) error {
	c.Source = "remote"
	return d.put(checksDir, c.Check.CheckID, c)
}

func (d localDisk) removeCheck(id string) error { return d.remove(checksDir, id) }

// putCheckState does not wait for the disk.
func (d localDisk) putCheckState(s *storedState) error {
	if d == "" {
		return nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	name := d.file(statesDir, s.CheckID)
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return fmt.Errorf("cannot write the state of check %q into the data directory: %w", s.CheckID, err)
	}
	return os.Rename(name+".new", name)
}

func (d localDisk) removeCheckState(id string) error { return d.remove(statesDir, id) }

// checkState reads the state of a check, nil if there is none of worth.
func (d localDisk) checkState(id string) *storedState {
	if d == "" {
		return nil
	}
	text, err := os.ReadFile(d.file(statesDir, id))
	if err != nil {
		return nil
	}
	var s storedState
	if json.Unmarshal(text, &s) != nil || !structs.ValidStatus(s.Status) || time.Now().Unix() >= s.Expires {
		return nil
	}
	return &s
}

// each reads all files of a directory as T. What cannot be read is told to
// report, and stays where it is.
func each[T any](d localDisk, dir string, report func(file string, err error), take func(file string, v *T)) error {
	if d == "" {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(string(d), dir))
	if err != nil {
		return dirError(string(d), err)
	}
	for _, e := range entries {
		file := filepath.Join(string(d), dir, e.Name())
		switch {
		case e.IsDir():
			continue
		case strings.Contains(e.Name(), ".new"): // of a write that a crash has cut short
			_ = os.Remove(file)
			continue
		}
		v := new(T)
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, v)
		}
		if err != nil {
			report(file, err)
			continue
		}
		take(file, v)
	}
	return nil
}

// load takes in what the data directory remembers. A check is critical until
// somebody reports on it, unless its last report still holds. What cannot be
// read is left alone and logged: it should not keep the server from starting.
func (l *local) load() error {
	if err := l.disk.open(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	report := func(file string, err error) {
		l.logger.Error("a registration in the data directory cannot be read, it is left out", "file", file, "error", err)
	}
	err := each(l.disk, servicesDir, report, func(file string, s *storedService) {
		if s.Service == nil || s.Service.ID == "" || s.Service.Service == "" {
			report(file, errors.New("it holds no service"))
			return
		}
		d := definitionOf(s)
		if err := l.settle(servicesDir, file, s.Service.ID, s); err != nil {
			report(file, err)
		}
		l.services[structs.FoldName(d.ID)] = &localService{row: d.NodeService(), token: s.Token}
	})
	if err != nil {
		return err
	}
	return each(l.disk, checksDir, report, func(file string, c *storedCheck) {
		switch {
		case c.Check == nil || c.Check.CheckID == "":
			report(file, errors.New("it holds no check"))
			return
		case c.Check.Type != structs.CheckMaintenance && c.ChkType.TTL <= 0:
			report(file, errors.New("it is of a check that Praetor does not run: it has no TTL"))
			return
		case c.Check.ServiceID != "" && l.services[structs.FoldName(c.Check.ServiceID)] == nil:
			report(file, errors.New("its service is not registered"))
			return
		}
		if err := l.settle(checksDir, file, c.Check.CheckID, c); err != nil {
			report(file, err)
		}
		c.Check.Status, c.Check.Output = structs.HealthCritical, ""
		if s := l.disk.checkState(c.Check.CheckID); s != nil {
			c.Check.Status, c.Check.Output = s.Status, s.Output
		}
		l.startCheck(c, false)
	})
}

// settle gives a file the name that we look for it by: Consul's is of the id as
// it is spelled.
func (l *local) settle(dir, file, id string, v any) error {
	if file == l.disk.file(dir, id) {
		return nil
	}
	if err := l.disk.put(dir, id, v); err != nil {
		return err
	}
	return os.Remove(file)
}

// definitionOf is the definition of a stored service, for its defaults.
func definitionOf(s *storedService) *structs.ServiceDefinition {
	row := s.Service
	return &structs.ServiceDefinition{
		Kind: row.Kind, ID: row.ID, Name: row.Service, Tags: row.Tags, Address: row.Address, TaggedAddresses: row.TaggedAddresses,
		Meta: row.Meta, Port: row.Port, SocketPath: row.SocketPath, Weights: row.Weights, EnableTagOverride: row.EnableTagOverride,
		Locality: row.Locality, Proxy: &row.Proxy, Connect: &row.Connect,
	}
}
