package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"praetor/agent"
	"praetor/agent/backup"
	"praetor/agent/config"
	"praetor/structs"
)

var backupHelp = help{`
The leader takes backups by itself once backup.target is configured. Here is how to see that they work, to take one now,
and to get one back. Listing needs no server.`,
	[]string{`backup status`, `backup run`, `backup list -config-dir=/etc/praetor.d`, `backup restore -config-dir=/etc/praetor.d`},
}

// targetFlags say where backups are and what opens them.
type targetFlags struct {
	target                      string
	configuration               texts
	identity, phrase, accessKey string
}

func (v *verb) targetFlags() *targetFlags {
	t := &targetFlags{}
	v.flags.StringVar(&t.target, "target", "", "The `place` of the backups: a directory, or s3://bucket/prefix?endpoint=...&region=... (default: as configured).")
	v.flags.Var(&t.configuration, "config-dir", "Read the backup block of the server's configuration in this `directory`; repeatable.")
	v.flags.Var(&t.configuration, "config-file", "Read the backup block of this configuration `file`; repeatable.")
	v.flags.StringVar(&t.identity, "identity-file", "", "Open backups with the age keys in this `file`.")
	v.flags.StringVar(&t.phrase, "passphrase-file", "", "Open backups with the passphrase in this `file`.")
	v.flags.StringVar(&t.accessKey, "credentials-file", "", "The S3 access key is in this `file` (default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then ~/.aws/credentials).")
	return t
}

func (t *targetFlags) open() (backup.Target, error) {
	var c config.Backup
	if len(t.configuration) > 0 {
		var err error
		if c, err = config.LoadBackup(t.configuration); err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
	}
	if t.target == "" && c.Target == "" {
		return nil, misusef("Where are the backups? Give -target, or -config-dir with the server's configuration")
	}
	if t.identity != "" || t.phrase != "" {
		c.Recipients, c.IdentityFile, c.PassphraseFile = nil, t.identity, t.phrase
	}
	if t.accessKey != "" {
		c.CredentialsFile = t.accessKey
	}
	target, err := agent.BackupTarget(c, t.target)
	if err != nil {
		return nil, fmt.Errorf("opening the backup target: %w", err)
	}
	return target, nil
}

func backupList(v *verb) {
	v.help = help{`
Lists the backups at a target, oldest first. Each says whether it was read back and restored when it was taken. An
encrypted target can be listed without a key.`,
		[]string{`backup list -config-dir=/etc/praetor.d`, `backup list -target=/var/backups/praetor`, `backup list -format=json -target 's3://backups/prod?endpoint=http://10.0.0.9:9000'`},
	}
	t := v.targetFlags()
	v.formats()
	v.run = func([]string) error {
		target, err := t.open()
		if err != nil {
			return err
		}
		records, err := backup.List(context.Background(), target)
		if err != nil {
			return fmt.Errorf("listing the backups: %w", err)
		}
		if v.json() {
			return v.printJSON(append([]structs.BackupRecord{}, records...))
		}
		if len(records) == 0 {
			fmt.Fprintln(v.stderr, "There is no backup at this target.")
			return nil
		}
		rows := [][]string{{"Name", "Time", "Index", "Size", "Server", "Encrypted", "State"}}
		for i := range records {
			r := &records[i]
			state := "verified"
			if !r.Good() {
				state = "BAD: " + dash(r.Error)
			}
			rows = append(rows, []string{r.Name, r.Time.UTC().Format(time.RFC3339), strconv.FormatUint(r.Index, 10), size(r.Size),
				dash(r.Server), strconv.FormatBool(r.Encrypted), state})
		}
		return v.printTable(rows)
	}
}

func backupStatus(v *verb) {
	v.help = help{`
Shows how the backups and the archived log are doing, as the leader sees it. The exit code is 2 if the last attempt at
either did not work or there is no good backup.`,
		[]string{`backup status`, `backup status -format=json`},
	}
	v.formats()
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		var s structs.BackupStatus
		if _, err := client.Raw().Query("/v1/operator/backup/status", &s, v.connection.read()); err != nil {
			return fmt.Errorf("getting the status: %w", err)
		}
		if v.json() {
			err = v.printJSON(&s)
		} else {
			err = v.printTable(statusRows(&s))
		}
		if err == nil && (s.Failures > 0 || s.Last == nil || s.Log != nil && s.Log.Error != "") {
			return exit(2)
		}
		return err
	}
}

func statusRows(s *structs.BackupStatus) [][]string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.RFC3339)
	}
	rows := [][]string{
		{"Leader", s.Leader}, {"Target", s.Target}, {"Schedule", s.Schedule}, {"Encrypted", strconv.FormatBool(s.Encrypted)},
		{"Running", strconv.FormatBool(s.Running)}, {"Next", at(s.Next)}, {"Good backups", strconv.Itoa(s.Backups)},
	}
	if r := s.Last; r != nil {
		rows = append(rows, []string{"Last good backup", r.Name}, []string{"  Time", at(r.Time)}, []string{"  Age", time.Since(r.Time).Round(time.Second).String()},
			[]string{"  Size", size(r.Size)}, []string{"  State hash", r.StateHash})
	} else {
		rows = append(rows, []string{"Last good backup", "none"})
	}
	rows = append(rows, logRows(s.Log)...)
	rows = append(rows, []string{"Failures in a row", strconv.Itoa(s.Failures)})
	if s.LastError != "" {
		rows = append(rows, []string{"Last error", at(s.LastErrorTime) + ": " + s.LastError})
	}
	return rows
}

func backupRun(v *verb) {
	v.help = help{`
Has the leader take a backup now, and waits until it is written and verified.`,
		[]string{`backup run`, `backup run -format=json`},
	}
	v.formats()
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		var r structs.BackupRecord
		if err := v.connection.write(client, "/v1/operator/backup/run", nil, nil, &r); err != nil {
			return fmt.Errorf("taking a backup: %w", err)
		}
		if v.json() {
			return v.printJSON(&r)
		}
		_, err = fmt.Fprintf(v.stdout, "Took and verified backup %s: index %d, %s\n", r.Name, r.Index, size(r.Size))
		return err
	}
}

func backupRestore(v *verb) {
	v.help = help{`
Fetches a backup, opens it, proves that it restores to the state that was backed up, and then replaces the whole state of
the cluster by it: what has been written since is lost. With -to-file it only writes the snapshot into a file, and needs
no server. With -to-index, -to-time, -before or -to-end it builds the state of a moment between two backups, from the
archived log. To start a new cluster from a backup: praetor agent -server -bootstrap -restore-from=latest.`,
		[]string{`backup restore -config-dir=/etc/praetor.d`, `backup restore -target=/var/backups/praetor -name=00000000000000090210-1764115200000`,
			`backup restore -config-dir=/etc/praetor.d -to-file=latest.snap`, `backup restore -config-dir=/etc/praetor.d '-before=delete-tree app/' -to-file=before.snap`},
	}
	t := v.targetFlags()
	name := v.flags.String("name", "latest", "The `name` of the backup, as list shows it.")
	point := newPointFlags(v.flags)
	to := point.file
	v.run = func([]string) error {
		if err := v.refuseEmpty("name", "to-time", "before", "chain", "to-file"); err != nil {
			return err
		}
		if point.indexIsZero(v.set) {
			return misusef("-to-index is 0: entries are counted from 1")
		}
		if point.given() {
			if *name != "latest" {
				return misusef("-name is a backup as it is: it excludes -to-index, -to-time, -before and -to-end")
			}
			return v.restorePoint(point, t)
		}
		target, err := t.open()
		if err != nil {
			return err
		}
		records, err := backup.List(context.Background(), target)
		if err != nil {
			return fmt.Errorf("listing the backups: %w", err)
		}
		r, err := backup.Find(records, *name)
		if err != nil {
			return fmt.Errorf("choosing a backup: %w", err)
		}
		if *to != "" {
			err := create(*to+".unverified", func(file io.Writer) error { return v.fetch(target, r, file) })
			if err != nil {
				return err
			}
			if _, err := v.publish(*to+".unverified", *to); err != nil {
				return err
			}
			_, err = fmt.Fprintf(v.stdout, "Wrote backup %s to %s\n", r.Name, *to)
			return err
		}
		return v.restoreBackup(target, r)
	}
}

func (v *verb) fetch(target backup.Target, r *structs.BackupRecord, w io.Writer) error {
	m := v.meter("Fetching", r.Size)
	defer m.clear()
	if m != nil {
		w = io.MultiWriter(w, m)
	}
	if err := backup.Fetch(context.Background(), target, r, w); err != nil {
		return fmt.Errorf("fetching backup %s: %w", r.Name, err)
	}
	return nil
}

// restoreBackup fetches and verifies all of it before the cluster hears of it.
func (v *verb) restoreBackup(target backup.Target, r *structs.BackupRecord) error {
	client, err := v.connection.client()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp("", "praetor-restore-*.snap")
	if err != nil {
		return fmt.Errorf("creating snapshot file: %w", err)
	}
	defer file.Close()
	defer os.Remove(file.Name())
	if err := v.fetch(target, r, file); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading snapshot file: %w", err)
	}
	return v.restoreFrom(client, file, r.Size, r.Index, nil, "Restored backup "+r.Name)
}
