package command

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

func kvPut(v *verb) {
	v.operands = []string{"KEY", "[VALUE]"}
	v.complete = keyPredictor
	v.help = help{`
Sets the value of KEY. VALUE is taken as it is, is read from a file if it is @FILE, and from standard input if it is -.
Without VALUE the value is empty.

Flags go first. A VALUE that looks like a flag needs -- somewhere before it; -5 does not look like one.`,
		[]string{`kv put app/limit 25`, `kv put app/config @config.json`, `kv put app/dump - < dump.sql`,
			`kv put -cas -modify-index=0 app/limit 25    # only if it does not exist`, `kv put -ttl=30s app/alive/web1 yes`, `kv put app/args -- -verbose`},
	}
	cas := v.flags.Bool("cas", false, "Write only if the key has not changed since -modify-index.")
	index := v.flags.Uint64("modify-index", 0, "With -cas, the `index` the key had when it was read; 0 for a key that must not exist.")
	flags := v.flags.Uint64("flags", 0, "A `number` kept with the value, for your own use.")
	encoded := v.flags.Bool("base64", false, "VALUE is in base64: write what it stands for.")
	acquire := v.flags.Bool("acquire", false, "Take the lock on the key for -session.")
	release := v.flags.Bool("release", false, "Give the lock on the key back for -session.")
	session := v.flags.String("session", "", "The `id` of a session, for -acquire and -release.")
	ttl := v.flags.Duration("ttl", 0, "The key goes when it was not set for this `time`, at least 1s. Without it, it stays.")
	fence := v.flags.String("fence", "", fenceUsage)
	v.run = func(operands []string) error {
		switch {
		case *index != 0 && !*cas:
			return misusef("-modify-index means something with -cas only")
		case (*acquire || *release) == (*session == ""):
			return misusef("-session goes with -acquire or -release, and they with it")
		case *acquire && *release, *cas && *session != "":
			return misusef("-cas, -acquire and -release exclude each other")
		}
		pair := &api.KVPair{Key: trimKey(operands), Flags: *flags, ModifyIndex: *index, Session: *session}
		if pair.Key == "" {
			return misusef("Missing KEY argument")
		}
		var err error
		if pair.Value, err = v.value(operands[1:]); err != nil {
			return err
		}
		if *encoded {
			if pair.Value, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(pair.Value))); err != nil {
				return failf("Error! The value is not base64: %v", err)
			}
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		put := func(write func(*api.KVPair, *api.WriteOptions) (bool, *api.WriteMeta, error), success, refusal string) error {
			ok, _, err := write(pair, writeOptions(*ttl, *fence))
			if err != nil {
				return fmt.Errorf("writing %q: %w", pair.Key, err)
			}
			if !ok {
				return failure(refusal)
			}
			_, err = fmt.Fprintln(v.stdout, success+pair.Key)
			return err
		}
		kv := client.KV()
		switch {
		case *cas && *index == 0:
			return put(kv.CAS, "Success! Data written to: ",
				"Error! Did not write to "+pair.Key+": CAS performed with index=0 and key already exists.")
		case *cas:
			return put(kv.CAS, "Success! Data written to: ", "Error! Did not write to "+pair.Key+": CAS failed")
		case *acquire:
			return put(kv.Acquire, "Success! Lock acquired on: ", "Error! Did not acquire lock")
		case *release:
			return put(kv.Release, "Success! Lock released on: ", "Error! Did not release lock")
		}
		return put(func(p *api.KVPair, q *api.WriteOptions) (bool, *api.WriteMeta, error) {
			meta, err := kv.Put(p, q)
			return true, meta, err
		}, "Success! Data written to: ", "")
	}
}

const fenceUsage = "Write only if the lock on a key is still held as it was taken: `KEY:LOCKINDEX`."

// writeOptions carry what Consul's client does not know.
func writeOptions(ttl time.Duration, fence string) *api.WriteOptions {
	query := url.Values{}
	if ttl != 0 {
		query.Set("ttl", ttl.String())
	}
	if fence != "" {
		query.Set("fence", fence)
	}
	return (&api.WriteOptions{}).WithContext(context.WithValue(context.Background(), queryKey{}, query))
}

// value is what an operand stands for: itself, a file's content, standard
// input's.
func (s *shell) value(operand []string) ([]byte, error) {
	r, _, err := s.open(operand)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, failf("Error! The value cannot be read: %v", err)
	}
	return data, nil
}

// open returns what value reads, and its size if that is known.
func (s *shell) open(operand []string) (io.ReadCloser, int64, error) {
	if len(operand) == 0 {
		return io.NopCloser(strings.NewReader("")), 0, nil
	}
	if operand[0] == "-" {
		return io.NopCloser(s.stdin), 0, nil
	}
	name, isFile := strings.CutPrefix(operand[0], "@")
	if !isFile {
		return io.NopCloser(strings.NewReader(operand[0])), int64(len(operand[0])), nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, failf("Error! The file cannot be read: %v", err)
	}
	var length int64
	if info, err := file.Stat(); err == nil {
		length = info.Size()
	}
	return file, length, nil
}

func kvDelete(v *verb) {
	v.operands = []string{"[KEY]"}
	v.complete = keyPredictor
	v.help = help{`
Deletes KEY, or with -recurse all keys that begin with it: with -recurse and no KEY, everything. Deleting what is not
there succeeds.`,
		[]string{`kv delete app/limit`, `kv delete -recurse app/`, `kv delete -cas -modify-index=77 app/limit`},
	}
	recurse := v.flags.Bool("recurse", false, "Delete all keys that begin with KEY.")
	cas := v.flags.Bool("cas", false, "Delete only if the key has not changed since -modify-index.")
	index := v.flags.Uint64("modify-index", 0, "With -cas, the `index` the key had when it was read.")
	fence := v.flags.String("fence", "", fenceUsage)
	v.run = func(operands []string) error {
		key := trimKey(operands)
		switch {
		case key == "" && !*recurse:
			return misusef("Missing KEY argument")
		case *cas && *recurse:
			return misusef("-cas and -recurse exclude each other")
		case *cas != (*index != 0):
			return misusef("-cas and -modify-index go together")
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		done, success := true, "Success! Deleted key: "
		switch {
		case *recurse:
			success = "Success! Deleted keys with prefix: "
			_, err = client.KV().DeleteTree(key, writeOptions(0, *fence))
		case *cas:
			done, _, err = client.KV().DeleteCAS(&api.KVPair{Key: key, ModifyIndex: *index}, writeOptions(0, *fence))
		default:
			_, err = client.KV().Delete(key, writeOptions(0, *fence))
		}
		if err != nil {
			return fmt.Errorf("deleting %q: %w", key, err)
		}
		if !done {
			return failf("Error! Did not delete key %s: CAS failed", key)
		}
		_, err = fmt.Fprintln(v.stdout, success+key)
		return err
	}
}
