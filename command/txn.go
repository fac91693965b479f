package command

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/consul/api"
)

func txn(v *verb) {
	v.operands = []string{"[OPERATIONS]"}
	v.help = help{`
Does all of OPERATIONS, one after another, or none of them, and shows what each one did. OPERATIONS is a JSON array: in a
file if it is @FILE, on standard input if it is - or left out, else the JSON itself. Values in it are in base64.

Each element has one of KV, Node, Service, Check or Session, and in it a Verb. Verbs of KV are set, cas, lock, unlock, get,
get-or-empty, get-tree, check-index, check-session, check-not-exists, check-fence, delete, delete-cas and delete-tree; the
others have get, set, cas, delete and delete-cas.

If one operation fails, nothing is changed: the exit code is 1, and every operation that failed is named.`,
		[]string{`txn '[{"KV":{"Verb":"set","Key":"app/a","Value":"MQ=="}},{"KV":{"Verb":"get-tree","Key":"app/"}}]'`,
			`txn @move.json`, `txn -format=json - < move.json | jq .Results`,
			`txn '[{"KV":{"Verb":"check-fence","Key":"app/x/.lock","Index":7}},{"KV":{"Verb":"delete","Key":"app/a"}}]'`},
	}
	v.formats()
	v.run = func(operands []string) error {
		if len(operands) == 0 {
			operands = []string{"-"}
		}
		body, err := v.value(operands)
		if err != nil {
			return err
		}
		var ops []txnOp
		if begin := bytes.TrimSpace(body); !bytes.HasPrefix(begin, []byte("[")) {
			return failf("Error! OPERATIONS must be a JSON array, and begins with %.20q. A file is named by @FILE.", begin)
		}
		if err := json.Unmarshal(body, &ops); err != nil {
			return failf("Error! OPERATIONS cannot be read: %v", err)
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		query := url.Values{}
		if v.connection.stale {
			query.Set("stale", "")
		}
		var reply json.RawMessage
		err = v.connection.write(client, "/v1/txn", query, json.RawMessage(body), &reply)
		if code, text := status(err); code == http.StatusConflict {
			reply, err = json.RawMessage(text), nil
		}
		if err != nil {
			return fmt.Errorf("running the transaction: %w", err)
		}
		var outcome struct {
			Results []txnRow
			Errors  api.TxnErrors
		}
		if err := json.Unmarshal(reply, &outcome); err != nil {
			return fmt.Errorf("reading the outcome: %w", err)
		}
		if v.json() {
			err = v.printJSON(reply)
		} else if len(outcome.Errors) == 0 {
			err = v.printTxn(ops, outcome.Results)
		}
		if err == nil && len(outcome.Errors) > 0 {
			err = rolledBack(ops, outcome.Errors)
		}
		return err
	}
}

// rolledBack names all that failed.
func rolledBack(ops []txnOp, failed api.TxnErrors) error {
	var b strings.Builder
	b.WriteString("Error! Nothing was changed: the transaction was rolled back.")
	for _, f := range failed {
		if f.OpIndex >= 0 && f.OpIndex < len(ops) {
			fmt.Fprintf(&b, "\n  operation %d, %s %s: %s", f.OpIndex, ops[f.OpIndex].verb, ops[f.OpIndex].subject, f.What)
		} else {
			fmt.Fprintf(&b, "\n  %s", f.What)
		}
	}
	return failure(b.String())
}

// txnOp is an operation as far as the outcome is told with it.
type txnOp struct {
	kind, verb, subject string
	key                 string // of KV
}

// UnmarshalJSON reads an operation. Whether it makes sense, the server knows.
func (o *txnOp) UnmarshalJSON(text []byte) error {
	var in struct {
		KV   *struct{ Verb, Key string }
		Node *struct {
			Verb string
			Node struct{ ID, Node string }
		}
		Service *struct {
			Verb, Node string
			Service    struct{ ID, Service string }
		}
		Check *struct {
			Verb  string
			Check struct{ Node, CheckID string }
		}
		Session *struct {
			Verb    string
			Session struct{ ID string }
		}
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	switch {
	case in.KV != nil:
		*o = txnOp{"KV", in.KV.Verb, in.KV.Key, in.KV.Key}
	case in.Node != nil:
		n := in.Node.Node
		*o = txnOp{kind: "Node", verb: in.Node.Verb, subject: "node " + cmp.Or(n.Node, n.ID)}
	case in.Service != nil:
		s := in.Service.Service
		*o = txnOp{kind: "Service", verb: in.Service.Verb, subject: "service " + cmp.Or(s.ID, s.Service) + " on " + in.Service.Node}
	case in.Check != nil:
		*o = txnOp{kind: "Check", verb: in.Check.Verb, subject: "check " + in.Check.Check.CheckID + " on " + in.Check.Check.Node}
	case in.Session != nil:
		*o = txnOp{kind: "Session", verb: in.Session.Verb, subject: "session " + in.Session.Session.ID}
	}
	return nil
}

// rows is how many rows of the result are the operation's; tree if it is as many
// as there are keys.
func (o *txnOp) rows() (n int, tree bool) {
	switch {
	case o.kind == "KV" && o.verb == "check-not-exists", strings.HasPrefix(o.verb, "delete"), o.kind == "", o.kind == "Session":
		return 0, false
	case o.kind == "KV" && o.verb == "get-tree":
		return 0, true
	}
	return 1, false
}

// txnRow is a row of the result: one of its fields is set.
type txnRow struct {
	KV      *api.KVPair
	Node    *api.Node
	Service *struct {
		ID          string
		ModifyIndex uint64
	}
	Check *struct {
		CheckID     string
		ModifyIndex uint64
	}
}

func (r *txnRow) columns() []string {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	switch {
	case r.KV != nil:
		return []string{r.KV.Key, number(r.KV.ModifyIndex), number(r.KV.LockIndex), dash(r.KV.Session), dash(printable(r.KV.Value))}
	case r.Node != nil:
		return []string{"node " + r.Node.Node, number(r.Node.ModifyIndex), "-", "-", r.Node.Address}
	case r.Service != nil:
		return []string{"service " + r.Service.ID, number(r.Service.ModifyIndex), "-", "-", "-"}
	case r.Check != nil:
		return []string{"check " + r.Check.CheckID, number(r.Check.ModifyIndex), "-", "-", "-"}
	}
	return []string{"-", "-", "-", "-", "-"}
}

// printable is a value on one line of a table.
func printable(value []byte) string {
	if !utf8.Valid(value) || strings.ContainsFunc(string(value), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(string(value))
	}
	return string(value)
}

// printTxn prints each operation with the rows that are its result. The server
// sends them in order, but not which are whose: all but a tree have a fixed
// number of them, and a tree's are in the order of their keys.
func (v *verb) printTxn(ops []txnOp, rows []txnRow) error {
	table := [][]string{{"Op", "Verb", "Subject", "ModifyIndex", "LockIndex", "Session", "Value"}}
	later := 0
	for i := range ops {
		n, _ := ops[i].rows()
		later += n
	}
	for i := range ops {
		o := &ops[i]
		n, tree := o.rows()
		later -= n
		if tree {
			for n < len(rows)-later && belongs(o, rows[:n+1]) {
				n++
			}
		}
		if n > len(rows) {
			return errors.New("reading the outcome: it has fewer rows than the operations must have")
		}
		lead := []string{strconv.Itoa(i), o.verb}
		for _, r := range rows[:n] {
			table = append(table, append(lead, r.columns()...))
			lead = []string{"", ""}
		}
		if n == 0 {
			table = append(table, append(lead, o.subject, "-", "-", "-", "-"))
		}
		rows = rows[n:]
	}
	return v.printTable(table)
}

// belongs says whether the last of the rows can be one of a tree's, if those
// before it are.
func belongs(o *txnOp, rows []txnRow) bool {
	last := rows[len(rows)-1].KV
	if last == nil || !strings.HasPrefix(last.Key, o.key) {
		return false
	}
	return len(rows) == 1 || rows[len(rows)-2].KV.Key < last.Key
}
