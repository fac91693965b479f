package command

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/consul/api"
)

var kvHelp = help{`
Keys are paths such as app/db/password, values are bytes that mean what you want.`,
	[]string{`kv put app/limit 25`, `kv get app/limit`, `kv list app/`, `kv delete app/limit`},
}

// trimKey lets people write /app for app: no key of the HTTP API begins with /.
func trimKey(operands []string) string {
	if len(operands) == 0 {
		return ""
	}
	return strings.TrimPrefix(operands[0], "/")
}

func kvGet(v *verb) {
	v.operands = []string{"[KEY]"}
	v.complete = keyPredictor
	v.help = help{`
Prints the value of KEY as it is, and a newline. A key that does not exist is an error.
With -recurse or -keys, KEY is what keys begin with, and finding none is no error.`,
		[]string{`kv get app/limit`, `kv get -detailed app/limit`, `kv get -recurse app/`, `kv get -base64 app/cert.der | base64 -d`},
	}
	recurse := v.flags.Bool("recurse", false, "Print all keys that begin with KEY, as key:value.")
	keys := v.flags.Bool("keys", false, "Print only the names of keys that begin with KEY.")
	separator := v.flags.String("separator", "/", "With -keys, cut names after the first `text` like this that follows KEY.")
	detailed := v.flags.Bool("detailed", false, "Print flags, session, indexes and TTL too.")
	encoded := v.flags.Bool("base64", false, "Print values in base64.")
	v.formats()
	v.run = func(operands []string) error {
		key := trimKey(operands)
		if key == "" && !*recurse && !*keys {
			return misusef("Missing KEY argument")
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		if *keys {
			return v.listKeys(client, key, *separator)
		}
		pairs, err := v.readPairs(client, key, *recurse)
		switch {
		case err != nil:
			return fmt.Errorf("reading %q: %w", key, err)
		case len(pairs) == 0 && !*recurse:
			return failf("Error! No key exists at: %s", key)
		case v.json() && *recurse:
			return v.printJSON(append([]*kvPair{}, pairs...))
		case v.json():
			return v.printJSON(pairs[0])
		}
		for i, p := range pairs {
			if *encoded {
				p.Value = []byte(base64.StdEncoding.EncodeToString(p.Value))
			}
			if err := v.printPair(p, i, *detailed, *recurse); err != nil {
				return err
			}
		}
		return nil
	}
}

// kvPair is a pair with what Consul's client does not know.
type kvPair struct {
	api.KVPair
	TTL string `json:",omitempty"`
}

// readPairs reads a key, or all that begin with it. None is no error.
func (v *verb) readPairs(client *api.Client, key string, recurse bool) (pairs []*kvPair, err error) {
	query := url.Values{}
	if recurse {
		query.Set("recurse", "")
	}
	q := v.connection.read().WithContext(context.WithValue(context.Background(), queryKey{}, query))
	_, err = client.Raw().Query("/v1/kv/"+key, &pairs, q)
	if refusal := (api.StatusError{}); errors.As(err, &refusal) && refusal.Code == http.StatusNotFound {
		return nil, nil
	}
	return pairs, err
}

// printPair prints the i-th pair; values go out byte for byte.
func (v *verb) printPair(p *kvPair, i int, detailed, named bool) error {
	switch {
	case detailed:
		if i > 0 {
			fmt.Fprintln(v.stdout)
		}
		for _, column := range []struct {
			name  string
			value any
		}{
			{"CreateIndex", p.CreateIndex}, {"Flags", p.Flags}, {"Key", p.Key}, {"LockIndex", p.LockIndex},
			{"ModifyIndex", p.ModifyIndex}, {"Session", cmp.Or(p.Session, "-")}, {"TTL", p.TTL},
		} {
			if column.value == "" {
				continue
			}
			fmt.Fprintf(v.stdout, "%-16s %v\n", column.name, column.value)
		}
		fmt.Fprintf(v.stdout, "%-16s ", "Value")
		return all(v.stdout, p.Value, []byte("\n"))
	case named:
		return all(v.stdout, []byte(p.Key+":"), p.Value, []byte("\n"))
	}
	return all(v.stdout, p.Value, []byte("\n"))
}

func kvList(v *verb) {
	v.operands = []string{"[PREFIX]"}
	v.complete = keyPredictor
	v.help = help{`
Prints the names of the keys that begin with PREFIX, one a line. What lies deeper than the next slash is shown as one
line that ends with the slash, as in a directory; -recurse shows every key.`,
		[]string{`kv list`, `kv list app/`, `kv list -recurse app/`, `kv list -format=json app/`},
	}
	separator := v.flags.String("separator", "/", "Cut names after the first `text` like this that follows PREFIX.")
	recurse := v.flags.Bool("recurse", false, "Print whole names, however deep.")
	v.formats()
	v.run = func(operands []string) error {
		if *recurse {
			*separator = ""
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		return v.listKeys(client, trimKey(operands), *separator)
	}
}

func (v *verb) listKeys(client *api.Client, prefix, separator string) error {
	keys, _, err := client.KV().Keys(prefix, separator, v.connection.read())
	if err != nil {
		return fmt.Errorf("listing keys under %q: %w", prefix, err)
	}
	if v.json() {
		return v.printJSON(append([]string{}, keys...))
	}
	for _, k := range keys {
		if _, err := fmt.Fprintln(v.stdout, k); err != nil {
			return err
		}
	}
	return nil
}
