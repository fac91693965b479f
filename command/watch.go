package command

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
)

// watching is one run of "watch".
type watching struct {
	*verb
	kind   *watchKind
	client *api.Client

	key, prefix, service, state, name, filter string
	tags                                      texts
	passing                                   bool
	shell                                     *bool

	after    string // of -stream: the id of the last event
	streamed bool   // and whether there was one, in this run or an earlier one

	heard map[string]bool // events that were told
}

// watchKind is something that can be watched.
type watchKind struct {
	name  string
	needs string   // flag that it cannot do without
	takes []string // other flags
	look  func(w *watching, q *api.QueryOptions) (result any, meta *api.QueryMeta, err error)
}

var watchKinds = []watchKind{
	{"checks", "", []string{"service", "state", "filter"}, (*watching).checks},
	{"event", "", []string{"name"}, (*watching).events},
	{"key", "key", nil, func(w *watching, q *api.QueryOptions) (any, *api.QueryMeta, error) {
		return looked(w.client.KV().Get(w.key, q))
	}},
	{"keyprefix", "prefix", nil, func(w *watching, q *api.QueryOptions) (any, *api.QueryMeta, error) {
		pairs, meta, err := w.client.KV().List(w.prefix, q)
		return append(api.KVPairs{}, pairs...), meta, err
	}},
	{"nodes", "", []string{"filter"}, func(w *watching, q *api.QueryOptions) (any, *api.QueryMeta, error) {
		return looked(w.client.Catalog().Nodes(q))
	}},
	{"service", "service", []string{"tag", "passingonly", "filter"}, func(w *watching, q *api.QueryOptions) (any, *api.QueryMeta, error) {
		return looked(w.client.Health().ServiceMultipleTags(w.service, w.tags, w.passing, q))
	}},
	{"services", "", []string{"filter"}, func(w *watching, q *api.QueryOptions) (any, *api.QueryMeta, error) {
		return looked(w.client.Catalog().Services(q))
	}},
}

// looked makes an answer of any type one of all types.
func looked[T any](result T, meta *api.QueryMeta, err error) (any, *api.QueryMeta, error) {
	return result, meta, err
}

func (w *watching) checks(q *api.QueryOptions) (any, *api.QueryMeta, error) {
	if w.service != "" {
		return looked(w.client.Health().Checks(w.service, q))
	}
	return looked(w.client.Health().State(w.state, q))
}

// events are those that were not told yet.
func (w *watching) events(q *api.QueryOptions) (any, *api.QueryMeta, error) {
	all, meta, err := w.client.Event().List(w.name, q)
	if err != nil {
		return nil, nil, err
	}
	fresh := slices.DeleteFunc(slices.Clone(all), func(e *api.UserEvent) bool { return w.heard[e.ID] })
	w.heard = map[string]bool{}
	for _, e := range all {
		w.heard[e.ID] = true
	}
	return append([]*api.UserEvent{}, fresh...), meta, nil
}

func watch(v *verb) {
	v.operands = []string{"[COMMAND...]"}
	v.runs = true
	v.help = help{`
Watches what -type and the flags that belong to it say. Without COMMAND it prints how things are as JSON, and ends. With
COMMAND it runs that now, and again whenever something has changed, until ctrl-C; COMMAND finds the JSON on its standard
input, and the index in CONSUL_INDEX. Changes that come while it runs become one. If the server cannot be reached, watch
says so and tries again.

With -stream it prints every single change of keys, as one line of JSON each, and leaves none out. The first line, a
"reset", and the puts up to "synced" say how things are. If the connection breaks, the feed goes on where it was, or says
that it cannot by another "reset". -after continues the feed of an earlier run.`,
		[]string{`watch -type=key -key=app/config`, `watch -type=service -service=web -passingonly ./reload-proxy.sh`,
			`watch -type=keyprefix -prefix=app/ 'jq -r .[].Key'`, `watch -type=event -name=deploy ./deploy.sh`,
			`watch -type=keyprefix -prefix=app/ -stream | jq -c 'select(.Type=="delete")'`},
	}
	w := &watching{verb: v}
	names := []string{"kv"} // what some call a key
	for _, k := range watchKinds {
		names = append(names, k.name)
	}
	kind := v.flags.String("type", "", "What to watch: "+strings.Join(names[1:], ", ")+": a `word`.")
	v.choices = map[string][]string{"type": names[1:]}
	v.flags.StringVar(&w.key, "key", "", "For key: this `key`.")
	v.flags.StringVar(&w.prefix, "prefix", "", "For keyprefix: the keys that begin with this `text`; '' is all of them.")
	v.flags.StringVar(&w.service, "service", "", "For service: this `name`. For checks: only those of this service.")
	v.flags.Var(&w.tags, "tag", "For service: only instances with this `tag`; may be repeated.")
	v.flags.BoolVar(&w.passing, "passingonly", false, "For service: only instances whose checks all pass.")
	v.flags.StringVar(&w.state, "state", "any", "For checks: only those that are passing, warning or critical: a `word`.")
	v.flags.StringVar(&w.name, "name", "", "For event: only those of this `name`.")
	v.flags.StringVar(&w.filter, "filter", "", "For checks, nodes, service and services: only what this `expression` is true for on the server.")
	stream := v.flags.Bool("stream", false, "For key and keyprefix: print every change as a line of JSON.")
	v.flags.StringVar(&w.after, "after", "", "With -stream: go on behind the event with this `id`.")
	w.shell = v.shellFlag()
	v.run = func(operands []string) error {
		if *kind == "kv" {
			*kind = "key"
		}
		if err := w.setKind(*kind); err != nil {
			return err
		}
		switch {
		case *stream && w.kind.name != "key" && w.kind.name != "keyprefix":
			return misusef("-stream is about keys: -type must be key or keyprefix")
		case *stream && len(operands) > 0:
			return misusef("-stream prints, and runs no command: let one read what it prints")
		case w.after != "" && !*stream:
			return misusef("-after means something with -stream only")
		case w.service != "" && w.state != "any":
			return misusef("-service and -state exclude each other")
		}
		var err error
		if w.client, err = v.connection.client(); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		switch {
		case *stream:
			w.streamed = w.after != ""
			return w.stream(ctx)
		case len(operands) > 0:
			return w.follow(ctx, operands)
		}
		q := v.connection.read()
		q.Filter = w.filter
		result, _, err := w.kind.look(w, q.WithContext(ctx))
		if err != nil {
			return fmt.Errorf("watching %s: %w", w.kind.name, err)
		}
		return v.printJSON(result)
	}
}

// setKind checks the type, and that the flags are those that belong to it.
func (w *watching) setKind(name string) error {
	var known []string
	for i, k := range watchKinds {
		known = append(known, k.name)
		if k.name == name {
			w.kind = &watchKinds[i]
		}
	}
	switch {
	case name == "":
		return misusef("Missing -type: it is one of %s", strings.Join(known, ", "))
	case w.kind == nil:
		return misusef("Unsupported watch type: %s.%s It is one of %s", name, didYouMean("", name, known), strings.Join(known, ", "))
	}
	given := map[string]bool{}
	var err error
	w.set.Visit(func(f *flag.Flag) {
		given[f.Name] = true
		for _, k := range watchKinds {
			if (k.needs == f.Name || slices.Contains(k.takes, f.Name)) && w.kind.needs != f.Name && !slices.Contains(w.kind.takes, f.Name) {
				err = misusef("-%s means nothing to a watch of type %s", f.Name, name)
			}
		}
	})
	w.key, w.prefix = strings.TrimPrefix(w.key, "/"), strings.TrimPrefix(w.prefix, "/")
	if err == nil && (w.kind.needs != "" && !given[w.kind.needs] || name == "key" && w.key == "" || name == "service" && w.service == "") {
		err = misusef("Missing -%s: a watch of type %s needs it", w.kind.needs, name)
	}
	return err
}

// follow runs the command line now, and after each change, until ctx ends.
func (w *watching) follow(ctx context.Context, words []string) error {
	q := w.connection.read()
	q.Filter = w.filter
	var last []byte
	for failed := 0; ; {
		result, meta, err := w.kind.look(w, q.WithContext(ctx))
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if err := w.bear(ctx, err, &failed, "now"); err != nil {
				return err
			}
			q.WaitIndex = 0
			continue
		}
		failed = 0
		q.WaitIndex = w.next(q.WaitIndex, meta.LastIndex)
		text, err := json.Marshal(result)
		if err != nil {
			return err
		}
		if events, ok := result.([]*api.UserEvent); ok && len(events) == 0 && last != nil || bytes.Equal(text, last) {
			if meta.LastIndex == 0 { // a proxy took it away: asking again at once would be a storm
				_ = pause(ctx, time.Second)
			}
			continue
		}
		last = text
		if err := w.handle(ctx, words, text, meta.LastIndex); err != nil {
			return err
		}
	}
}

// next is what to wait for after index. That of events is no number that grows.
func (w *watching) next(last, index uint64) uint64 {
	if w.kind.name == "event" {
		return index
	}
	return nextIndex(last, index)
}

// handle runs the command line once. That it fails is told, and no reason to
// miss the next change.
func (w *watching) handle(ctx context.Context, words []string, text []byte, index uint64) error {
	cmd := w.program(words, *w.shell, fmt.Sprintf("CONSUL_INDEX=%d", index))
	cmd.Stdin = bytes.NewReader(append(text, '\n'))
	j, err := startJob(cmd)
	if err != nil {
		return failf("Error! The command cannot be started: %v", err)
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		j.stop(time.Now().Add(lockTiming.grace))
		return nil
	}
	if j.failed() {
		fmt.Fprintf(w.stderr, "The command failed: %v\n", j.ProcessState)
	}
	return nil
}

// longestPause is the longest time between two attempts to reach a server.
const longestPause = 30 * time.Second

// bear tells of an error that may pass, and waits; it returns one that will not.
func (w *watching) bear(ctx context.Context, err error, failed *int, then string) error {
	if !retryable(err) {
		return fmt.Errorf("watching %s: %w", w.kind.name, err)
	}
	wait := min(watchRetry<<min(*failed, 10), longestPause)
	*failed++
	fmt.Fprintf(w.stderr, "Watching %s: %v. Trying again in %v, to go on from %s.\n", w.kind.name, err, wait, then)
	_ = pause(ctx, wait) // the next look notices that ctx ended
	return nil
}

// watchRetry is the time after a first failure.
var watchRetry = time.Second
