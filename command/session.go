package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"praetor/structs"
)

var sessionHelp = help{`
A session stands for a program that is alive. Keys are locked in its name; when it ends, they are released or deleted.`,
	[]string{`session list`, `session create -name=worker-1 -ttl=30s`, `session renew 31cd1d5c-6d4e-4a6b-9a0e-1f0b3c5a7d90`},
}

// sessionRow is what a server says about a session: what Consul's client knows
// and what is ours.
type sessionRow struct {
	api.SessionEntry
	Expiry    structs.SessionExpiry
	ExpiresIn structs.Duration
}

// ttl is the session's TTL, and how it is meant.
func (s *sessionRow) ttl() string {
	switch {
	case s.TTL == "" || strings.HasPrefix(s.TTL, "0"):
		return "-"
	case s.Expiry == structs.ExpiryExact:
		return s.TTL + " exact"
	}
	return s.TTL
}

// left is for how long it lives if nobody renews it.
func (s *sessionRow) left() string {
	if s.ExpiresIn <= 0 {
		return "-"
	}
	return time.Duration(s.ExpiresIn).Round(100 * time.Millisecond).String()
}

// sessions reads the answer of a path as rows, and as it is.
func (v *verb) sessions(path string) (rows []sessionRow, raw json.RawMessage, err error) {
	client, err := v.connection.client()
	if err != nil {
		return nil, nil, err
	}
	if _, err = client.Raw().Query(path, &raw, v.connection.read()); err == nil {
		err = json.Unmarshal(raw, &rows)
	}
	return rows, raw, err
}

func sessionList(v *verb) {
	v.help = help{`
Lists the sessions: TTL is how long each lives without being renewed (twice as long, if it is not exact), ExpiresIn what
is left of that as the leader sees it; - means that it does not expire.`,
		[]string{`session list`, `session list -node=web-1`, `session list -format=json`},
	}
	node := v.flags.String("node", "", "Show only the sessions of this `node`.")
	v.formats()
	v.run = func([]string) error {
		path := "/v1/session/list"
		if *node != "" {
			path = "/v1/session/node/" + *node
		}
		rows, raw, err := v.sessions(path)
		if err != nil {
			return fmt.Errorf("listing sessions: %w", err)
		}
		if v.json() {
			return v.printJSON(raw)
		}
		table := [][]string{{"ID", "Name", "Node", "TTL", "ExpiresIn", "Behavior"}}
		for _, s := range rows {
			table = append(table, []string{s.ID, dash(s.Name), s.Node, s.ttl(), s.left(), s.Behavior})
		}
		return v.printTable(table)
	}
}

func sessionInfo(v *verb) {
	v.operands = []string{"ID"}
	v.complete = sessionPredictor
	v.help = help{`
Shows a session, and for how long it lives if nobody renews it.`,
		[]string{`session info 31cd1d5c-6d4e-4a6b-9a0e-1f0b3c5a7d90`, `session info -format=json 31cd1d5c-6d4e-4a6b-9a0e-1f0b3c5a7d90`},
	}
	v.formats()
	v.run = func(operands []string) error {
		rows, raw, err := v.sessions("/v1/session/info/" + operands[0])
		switch {
		case err != nil:
			return fmt.Errorf("reading session %q: %w", operands[0], err)
		case len(rows) == 0:
			return noSession(operands[0])
		case v.json():
			var each []json.RawMessage
			if err := json.Unmarshal(raw, &each); err != nil {
				return err
			}
			return v.printJSON(each[0])
		}
		s := &rows[0]
		checks := append([]string{}, s.NodeChecks...)
		for _, c := range s.ServiceChecks {
			checks = append(checks, c.ID)
		}
		return v.printTable([][]string{
			{"ID", s.ID}, {"Name", dash(s.Name)}, {"Node", s.Node}, {"TTL", s.ttl()}, {"ExpiresIn", s.left()}, {"Behavior", s.Behavior},
			{"LockDelay", s.LockDelay.String()}, {"Checks", dash(strings.Join(checks, ","))},
			{"CreateIndex", fmt.Sprint(s.CreateIndex)},
		})
	}
}

func noSession(id string) error {
	return failf("Error! There is no session %s. It may have expired: \"praetor session list\" shows those that there are.", id)
}

func sessionCreate(v *verb) {
	v.help = help{`
Makes a session and prints its id. It ends when it is destroyed, when one of its checks is critical or goes, when its node
goes, and, with -ttl, when it was not renewed for twice as long; with -expiry=exact, for just as long.`,
		[]string{`session create -name=worker-1 -ttl=30s`, `session create -ttl=2s -expiry=exact -behavior=delete`,
			`session create -node-check=serfHealth -service-check=service:web -lock-delay=0s`},
	}
	var nodeChecks, serviceChecks texts
	name := v.flags.String("name", "", "Give it this `name`, for people.")
	node := v.flags.String("node", "", "It belongs to this `node` (default: the one whose server is asked).")
	ttl := v.flags.Duration("ttl", 0, "It must be renewed within this `duration` (default: it does not expire).")
	delay := v.flags.Duration("lock-delay", structs.DefaultLockDelay, "For this `duration` nobody gets its locks when it was cut short.")
	behavior := v.flags.String("behavior", "release", "When it ends, release its keys (release) or delete them (delete): a `word`.")
	expiry := v.flags.String("expiry", "", "With -ttl, \"exact\" ends it at its TTL, not at twice that: a `word`.")
	v.flags.Var(&nodeChecks, "node-check", "It depends on this `check` of its node; may be repeated, and '' is none (default serfHealth).")
	v.flags.Var(&serviceChecks, "service-check", "It depends on this `check` of a service on its node; may be repeated.")
	v.run = func([]string) error {
		body := map[string]any{"LockDelay": delay.String(), "Behavior": *behavior}
		for field, value := range map[string]string{"Name": *name, "Node": *node, "Expiry": *expiry} {
			if value != "" {
				body[field] = value
			}
		}
		switch {
		case *behavior != "release" && *behavior != "delete":
			return misusef("-behavior is %q: it can be release or delete", *behavior)
		case *expiry != "" && *expiry != string(structs.ExpiryExact):
			return misusef("-expiry is %q: it can only be exact", *expiry)
		case *expiry != "" && *ttl == 0:
			return misusef("-expiry means something with -ttl only")
		case *ttl < 0 || *delay < 0:
			return misusef("-ttl and -lock-delay cannot be negative")
		case *ttl > 0:
			body["TTL"] = ttl.String()
		}
		if nodeChecks != nil {
			checks := []string{}
			for _, c := range nodeChecks {
				if c != "" {
					checks = append(checks, c)
				}
			}
			body["NodeChecks"] = checks
		}
		if serviceChecks != nil {
			var checks []structs.ServiceCheck
			for _, c := range serviceChecks {
				checks = append(checks, structs.ServiceCheck{ID: c})
			}
			body["ServiceChecks"] = checks
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		var made struct{ ID string }
		if err := v.connection.write(client, "/v1/session/create", nil, body, &made); err != nil {
			return fmt.Errorf("creating a session: %w", err)
		}
		_, err = fmt.Fprintln(v.stdout, made.ID)
		return err
	}
}

func sessionDestroy(v *verb) {
	v.operands = []string{"ID..."}
	v.complete = sessionPredictor
	v.help = help{`
Ends sessions: the keys they hold are released or deleted at once. Ending one that is not there succeeds.`,
		[]string{`session destroy 31cd1d5c-6d4e-4a6b-9a0e-1f0b3c5a7d90`, `session list -format=json | jq -r '.[].ID' | xargs praetor session destroy`},
	}
	v.run = func(operands []string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		for _, id := range operands {
			if _, err := client.Session().Destroy(id, nil); err != nil {
				return fmt.Errorf("destroying session %q: %w", id, err)
			}
			if _, err := fmt.Fprintln(v.stdout, "Destroyed session:", id); err != nil {
				return err
			}
		}
		return nil
	}
}

func sessionRenew(v *verb) {
	v.operands = []string{"ID"}
	v.complete = sessionPredictor
	v.help = help{`
Lets the TTL of a session begin anew, and prints for how long the session now lives.`,
		[]string{`session renew 31cd1d5c-6d4e-4a6b-9a0e-1f0b3c5a7d90`, `session renew -format=json 31cd1d5c-6d4e-4a6b-9a0e-1f0b3c5a7d90`},
	}
	v.formats()
	v.run = func(operands []string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		var each []json.RawMessage
		err = v.connection.write(client, "/v1/session/renew/"+operands[0], url.Values{}, nil, &each)
		if code, _ := status(err); code == http.StatusNotFound || err == nil && len(each) == 0 {
			return noSession(operands[0])
		}
		if err != nil {
			return fmt.Errorf("renewing session %q: %w", operands[0], err)
		}
		if v.json() {
			return v.printJSON(each[0])
		}
		var s sessionRow
		if err := json.Unmarshal(each[0], &s); err != nil {
			return err
		}
		life := "it does not expire"
		switch {
		case s.ExpiresIn > 0:
			life = "it expires in " + s.left()
		case s.ttl() != "-":
			life = "its TTL is " + s.ttl()
		}
		_, err = fmt.Fprintf(v.stdout, "Renewed session: %s (%s)\n", s.ID, life)
		return err
	}
}
