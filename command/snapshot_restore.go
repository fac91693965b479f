package command

import (
	"context"
	"fmt"
	"io"
	"net/url"

	"github.com/hashicorp/consul/api"
	"github.com/posener/complete"
)

func snapshotRestore(v *verb) {
	v.operands = []string{"FILE"}
	v.complete = complete.PredictFiles("*.snap")
	v.help = help{`
Replaces the whole state of the cluster by the one in FILE: what has been written since that snapshot is lost. The file
is read and checked here first, and again by the server; one that is damaged changes nothing. The servers of the
cluster stay the same.

With -prefix only the keys that begin with it are put back, into the cluster as it is, and nothing else is touched. The
difference is shown first, and with -dry-run nothing more is done. Keys under the prefix that the snapshot does not have
are deleted, unless -keep is given. Values, flags and TTLs are put back; locks are not, and stay as they are. This is
done in transactions of as many keys as fit, not all at once. Each of them is refused as a whole if one of its keys has
changed since the difference was shown; then the command stops, says so and exits with 1, and can be run again.`,
		[]string{`snapshot restore backup.snap`, `snapshot restore -http-addr=10.0.0.11:8500 backup.snap`,
			`snapshot restore -skip-enterprise enterprise.snap`,
			`snapshot restore -prefix=app/ -dry-run backup.snap`, `snapshot restore -prefix=app/ -keep backup.snap`},
	}
	skip := skipEnterprise(v.flags)
	var p prefixRestore
	v.flags.StringVar(&p.prefix, "prefix", "", "Put back only the keys that begin with this `prefix`.")
	v.flags.BoolVar(&p.keep, "keep", false, "With -prefix: delete no keys.")
	v.flags.BoolVar(&p.dryRun, "dry-run", false, "With -prefix: show the difference and change nothing.")
	v.run = func(operands []string) error {
		if err := v.refuseEmpty("prefix"); err != nil {
			return err
		}
		if p.prefix != "" {
			p.verb, p.path, p.skipEnterprise = v, operands[0], *skip
			return p.run()
		}
		if p.keep || p.dryRun {
			return misusef("-keep and -dry-run want -prefix")
		}
		return v.restoreAll(operands[0], *skip)
	}
}

// restoreAll replaces the whole state.
func (v *verb) restoreAll(path string, skipEnterprise bool) error {
	meta, dropped, err := v.verifyFile(path, skipEnterprise)
	if err != nil {
		return fmt.Errorf("checking %s before anything is restored: %w", path, err)
	}
	v.tellDropped(path, dropped)
	client, err := v.connection.client()
	if err != nil {
		return err
	}
	file, length, err := v.open([]string{"@" + path})
	if err != nil {
		return err
	}
	defer file.Close()
	options := &api.WriteOptions{}
	if skipEnterprise {
		options = options.WithContext(context.WithValue(context.Background(), queryKey{}, url.Values{"skip-enterprise": {""}}))
	}
	return v.restoreFrom(client, file, length, meta.Index, options, "Restored snapshot")
}

// restoreFrom makes a snapshot of so many bytes the state of the cluster, and then
// says that it has.
func (v *verb) restoreFrom(client *api.Client, file io.Reader, length int64, index uint64, options *api.WriteOptions, done string) error {
	m := v.meter(fmt.Sprintf("Restoring index %d", index), length)
	defer m.clear()
	if err := client.Snapshot().Restore(options, m.reader(file)); err != nil {
		return fmt.Errorf("restoring snapshot: %w", err)
	}
	m.clear()
	_, err := fmt.Fprintln(v.stdout, done)
	return err
}
