package command

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// exported is one element of the array that export prints and import reads.
type exported struct {
	Key   string `json:"key"`
	Flags uint64 `json:"flags"`
	Value []byte `json:"value"`
}

func kvExport(v *verb) {
	v.operands = []string{"[PREFIX]"}
	v.complete = keyPredictor
	v.help = help{`
Prints the keys that begin with PREFIX, all keys without it, as a JSON array of objects with key, flags and value, the
value in base64. "praetor kv import" reads it, and so does Consul.`,
		[]string{`kv export > all.json`, `kv export app/ > app.json`},
	}
	v.run = func(operands []string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		prefix := trimKey(operands)
		pairs, _, err := client.KV().List(prefix, v.connection.read())
		if err != nil {
			return fmt.Errorf("reading keys under %q: %w", prefix, err)
		}
		out := bufio.NewWriter(v.stdout)
		out.WriteString("[")
		for i, p := range pairs {
			if i > 0 {
				out.WriteString(",")
			}
			out.WriteString("\n\t")
			element, err := json.MarshalIndent(exported{p.Key, p.Flags, append([]byte{}, p.Value...)}, "\t", "\t")
			if err != nil {
				return err
			}
			out.Write(element)
		}
		if len(pairs) > 0 {
			out.WriteString("\n")
		}
		out.WriteString("]\n")
		return out.Flush()
	}
}

// importsInFlight is how many writes of an import wait for their answer at the
// same time.
const importsInFlight = 16

func kvImport(v *verb) {
	v.operands = []string{"DATA"}
	v.help = help{`
Writes the keys in DATA, which is what "kv export" printed: in a file if it is @FILE, on standard input if it is -, else
the JSON itself. Keys that exist are overwritten, others stay. A file is checked as a whole before anything is written.
At the first error the import stops and says how many keys have been written; importing again is safe.`,
		[]string{`kv import @all.json`, `kv import -prefix=restored/ - < app.json`, `kv import '[{"key":"a","flags":0,"value":"MQ=="}]'`},
	}
	prefix := v.flags.String("prefix", "", "Put this `folder` before every key.")
	v.run = func(operands []string) error {
		in, length, err := v.open(operands)
		if err != nil {
			return err
		}
		defer in.Close()
		if err := check(in); err != nil {
			return err
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		var m *meter
		if !isTerminal(v.stdout) { // else the lines there show how it goes
			m = v.meter("Importing", length)
			defer m.clear()
		}
		folder := strings.TrimPrefix(*prefix, "/")
		if folder != "" && !strings.HasSuffix(folder, "/") {
			folder += "/"
		}
		im := &importer{kv: client.KV(), out: v.stdout}
		if err = im.run(m.reader(in), folder); err != nil {
			m.clear()
			fmt.Fprintf(v.stderr, "Stopped after importing %d keys.\n", im.count)
		}
		return err
	}
}

// importer keeps some writes in flight and reports them in the order of the
// data.
type importer struct {
	kv     *api.KV
	out    io.Writer
	flight []*importing // oldest first
	count  int          // keys written
}

type importing struct {
	key  string
	done chan error
}

// elements are those of the array in r, as they come.
func elements(r io.Reader) iter.Seq2[exported, error] {
	return func(yield func(exported, error) bool) {
		dec := json.NewDecoder(r)
		start, err := dec.Token()
		if err == nil && start != json.Delim('[') {
			err = fmt.Errorf("it begins with %v, not with an array", start)
		}
		for err == nil && dec.More() {
			var e exported
			if err = dec.Decode(&e); err == nil && !yield(e, nil) {
				return
			}
		}
		if err == nil {
			_, err = dec.Token() // the array's end
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			yield(exported{}, failf("Cannot unmarshal data: %v", err))
		}
	}
}

// check reads a file to its end and then from its start again, so that nothing
// of a file is imported that has a mistake near its end.
func check(r io.Reader) error {
	file, ok := r.(io.ReadSeeker)
	if !ok {
		return nil
	}
	if _, err := file.Seek(0, io.SeekCurrent); err != nil { // a pipe such as /dev/stdin
		return nil
	}
	for _, err := range elements(r) {
		if err != nil {
			return err
		}
	}
	_, err := file.Seek(0, io.SeekStart)
	return err
}

func (im *importer) run(r io.Reader, folder string) error {
	for e, err := range elements(r) {
		if err != nil {
			return im.rest(err)
		}
		e.Key = folder + e.Key
		same := func(i *importing) bool { return i.key == e.Key } // the later one must win
		for len(im.flight) == importsInFlight || slices.ContainsFunc(im.flight, same) {
			if err := im.settle(); err != nil {
				return im.rest(err)
			}
		}
		im.start(e)
	}
	return im.rest(nil)
}

func (im *importer) start(e exported) {
	i := &importing{e.Key, make(chan error, 1)}
	im.flight = append(im.flight, i)
	go func() {
		_, err := im.kv.Put(&api.KVPair{Key: e.Key, Flags: e.Flags, Value: e.Value}, nil)
		i.done <- err
	}()
}

// settle waits for the oldest write.
func (im *importer) settle() error {
	oldest := im.flight[0]
	im.flight = im.flight[1:]
	if err := <-oldest.done; err != nil {
		return fmt.Errorf("importing %q: %w", oldest.key, err)
	}
	im.count++
	_, err := fmt.Fprintln(im.out, "Imported:", oldest.key)
	return err
}

// rest waits for all writes and returns the first error.
func (im *importer) rest(first error) error {
	for len(im.flight) > 0 {
		if err := im.settle(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
