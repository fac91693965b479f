package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/consul/api"

	"praetor/fsm"
	"praetor/structs"
)

// prefixRestore puts the keys under one prefix back into a live cluster.
type prefixRestore struct {
	*verb
	path, prefix                 string
	keep, dryRun, skipEnterprise bool

	client *api.Client
	done   int // changes made
}

// change is what has to be done to one key, if its ModifyIndex is still index.
type change struct {
	mark  string // + it is not there, ~ it is different, - it is not in the snapshot
	key   string
	want  *structs.DirEntry // nil: delete it
	index uint64            // 0: it must not be there
	size  int               // of the value that is there
}

// Limits of the servers on a transaction, by default: operations, and bytes of
// its JSON.
const (
	txnOps   = 128
	txnBytes = 512 << 10
)

func (p *prefixRestore) run() error {
	file, err := p.openSnapshot(p.path, p.skipEnterprise)
	if err != nil {
		return fmt.Errorf("reading snapshot: %w", err)
	}
	wanted := map[string]*structs.DirEntry{}
	meta, err := file.rows(func(row fsm.Row) error {
		if row.Type == fsm.RowKey && strings.HasPrefix(row.Name, p.prefix) {
			wanted[row.Name] = row.Data.(*structs.DirEntry)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading snapshot: %w", err)
	}
	p.tellDropped(p.path, file.dropped)
	if p.client, err = p.connection.client(); err != nil {
		return err
	}
	live, err := p.live()
	if err != nil {
		return fmt.Errorf("reading keys under %q: %w", p.prefix, err)
	}
	for key := range wanted {
		if !utf8.ValidString(key) {
			return failf("Error! The snapshot's key %q is no UTF-8 text, and transactions are JSON: put back a prefix without it, or the whole snapshot.", key)
		}
	}
	changes, same := p.difference(wanted, live)
	if err := p.show(changes, same, meta.Index); err != nil || p.dryRun || len(changes) == 0 {
		return err
	}
	for len(changes) > 0 {
		n := batch(changes)
		if err := p.apply(changes[:n]); err != nil {
			if p.done > 0 {
				fmt.Fprintf(p.stderr, "Stopped after %s.\n", keysChanged(p.done))
			}
			return err
		}
		changes = changes[n:]
	}
	_, err = fmt.Fprintf(p.stdout, "Put back %q: %s\n", p.prefix, keysChanged(p.done))
	return err
}

func keysChanged(n int) string {
	if n == 1 {
		return "1 key changed"
	}
	return fmt.Sprintf("%d keys changed", n)
}

// live are the keys under the prefix as the cluster has them.
func (p *prefixRestore) live() ([]structs.DirEntry, error) {
	ctx := context.WithValue(context.Background(), queryKey{}, url.Values{"recurse": {""}})
	var rows []structs.DirEntry
	_, err := p.client.Raw().Query("/v1/kv/"+p.prefix, &rows, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if code, _ := status(err); code == http.StatusNotFound {
		return nil, nil
	}
	return rows, err
}

// difference is what makes live as wanted, in order of key, and how many keys
// are so already. It uses wanted up.
func (p *prefixRestore) difference(wanted map[string]*structs.DirEntry, live []structs.DirEntry) (changes []change, same int) {
	for _, is := range live {
		want := wanted[is.Key]
		delete(wanted, is.Key)
		switch {
		case want == nil && !p.keep:
			changes = append(changes, change{"-", is.Key, nil, is.ModifyIndex, len(is.Value)})
		case want == nil:
		case bytes.Equal(want.Value, is.Value) && want.Flags == is.Flags && want.TTL == is.TTL:
			same++
		default:
			changes = append(changes, change{"~", is.Key, want, is.ModifyIndex, len(is.Value)})
		}
	}
	for key, want := range wanted {
		changes = append(changes, change{"+", key, want, 0, 0})
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.key, b.key) })
	return changes, same
}

func (p *prefixRestore) show(changes []change, same int, index uint64) error {
	var text strings.Builder
	counts := map[string]int{}
	for _, c := range changes {
		counts[c.mark]++
		switch c.mark {
		case "+":
			fmt.Fprintf(&text, "+ %s (%s)\n", c.key, size(int64(len(c.want.Value))))
		case "~":
			fmt.Fprintf(&text, "~ %s (%s, now %s)\n", c.key, size(int64(len(c.want.Value))), size(int64(c.size)))
		case "-":
			fmt.Fprintf(&text, "- %s (%s)\n", c.key, size(int64(c.size)))
		}
	}
	fmt.Fprintf(&text, "Keys under %q to add: %d, to change: %d, to delete: %d; as in the snapshot of index %d: %d\n",
		p.prefix, counts["+"], counts["~"], counts["-"], index, same)
	_, err := p.stdout.Write([]byte(text.String()))
	return err
}

// operation is the change as an element of a transaction. All verbs compare the
// key's index.
type operation struct {
	KV struct {
		Verb  structs.KVOp
		Key   string
		Value []byte `json:",omitempty"`
		Flags uint64 `json:",omitempty"`
		Index uint64
		TTL   structs.Duration `json:",omitempty"`
	}
}

func (c *change) operation() (o operation) {
	o.KV.Key, o.KV.Index, o.KV.Verb = c.key, c.index, structs.KVDeleteCAS
	if c.want != nil {
		o.KV.Verb, o.KV.Value, o.KV.Flags, o.KV.TTL = structs.KVCAS, c.want.Value, c.want.Flags, structs.Duration(c.want.TTL)
	}
	return o
}

// bytes are at least what the change takes up in a transaction.
func (c *change) bytes() int {
	n := 256 + 6*len(c.key) // JSON writes some characters as \u0000
	if c.want != nil {
		n += (len(c.want.Value) + 2) / 3 * 4
	}
	return n
}

// batch is how many of the changes fit into one transaction; at least one.
func batch(changes []change) int {
	n, total := 0, 2
	for n < len(changes) && n < txnOps {
		total += changes[n].bytes()
		if total > txnBytes && n > 0 {
			break
		}
		n++
	}
	return n
}

// apply makes the changes in one transaction, or in several smaller ones if the
// server takes no such large one.
func (p *prefixRestore) apply(changes []change) error {
	if len(changes) == 1 && changes[0].bytes() > txnBytes {
		return p.applyAlone(&changes[0])
	}
	ops := make([]operation, len(changes))
	for i := range changes {
		ops[i] = changes[i].operation()
	}
	err := p.connection.write(p.client, "/v1/txn", nil, ops, nil)
	code, text := status(err)
	switch {
	case err == nil:
		p.done += len(changes)
		return nil
	case code == http.StatusRequestEntityTooLarge && len(changes) > 1:
		half := len(changes) / 2
		if err := p.apply(changes[:half]); err != nil {
			return err
		}
		return p.apply(changes[half:])
	case code != http.StatusConflict:
		return fmt.Errorf("putting back keys under %q: %w", p.prefix, err)
	}
	var outcome struct{ Errors api.TxnErrors }
	if err := json.Unmarshal([]byte(text), &outcome); err != nil {
		return fmt.Errorf("reading the outcome: %w", err)
	}
	var keys []string
	for _, e := range outcome.Errors {
		if e.OpIndex >= 0 && e.OpIndex < len(changes) {
			keys = append(keys, changes[e.OpIndex].key)
		}
	}
	return overtaken(keys)
}

// applyAlone makes a change that is too large for a transaction, but not for
// the server.
func (p *prefixRestore) applyAlone(c *change) error {
	query := url.Values{}
	if c.want.TTL != 0 {
		query.Set("ttl", c.want.TTL.String())
	}
	options := (&api.WriteOptions{}).WithContext(context.WithValue(context.Background(), queryKey{}, query))
	pair := &api.KVPair{Key: c.key, Value: c.want.Value, Flags: c.want.Flags, ModifyIndex: c.index}
	done, _, err := p.client.KV().CAS(pair, options)
	if err != nil {
		return fmt.Errorf("putting back %q: %w", c.key, err)
	}
	if !done {
		return overtaken([]string{c.key})
	}
	p.done++
	return nil
}

// overtaken says that somebody else was quicker.
func overtaken(keys []string) error {
	return failf("Error! These keys have changed since the difference was shown, so the transaction with them was not done:\n  %s\n"+
		"Run the command again to see what is still different.", strings.Join(keys, "\n  "))
}
