package recovery

import (
	"fmt"
	"strings"

	"praetor/structs"
)

// about says in short what a command does, and to what. Values are not shown:
// they may be secrets.
func about(command structs.Command) (op, what string) {
	switch c := command.(type) {
	case *structs.KVSRequest:
		return string(c.Op), keyText(c.DirEnt)
	case *structs.SessionRequest:
		return string(c.Op), words("session "+c.Session.ID, field("name", c.Session.Name), field("node", c.Session.Node))
	case *structs.RegisterRequest:
		what = "node " + c.Node
		if c.Service != nil {
			what += words(", service "+c.Service.Service, field("id", c.Service.ID))
		}
		checks := len(c.Checks)
		if c.Check != nil {
			checks++
		}
		if checks > 0 {
			what += fmt.Sprintf(", checks: %d", checks)
		}
		return "register", what
	case *structs.DeregisterRequest:
		return "deregister", words("node "+c.Node, field("service", c.ServiceID), field("check", c.CheckID))
	case *structs.TxnRequest:
		var ops []string
		for i := range c.Ops {
			if i == 8 {
				ops = append(ops, fmt.Sprintf("and %d more", len(c.Ops)-i))
				break
			}
			ops = append(ops, txnText(&c.Ops[i]))
		}
		return fmt.Sprintf("%d operations", len(c.Ops)), strings.Join(ops, "; ")
	case *structs.CoordinateBatch:
		var nodes []string
		for _, row := range *c {
			if row != nil {
				nodes = append(nodes, row.Node)
			}
		}
		return "update", strings.Join(nodes, ", ")
	case *structs.PreparedQueryRequest:
		if c.Query != nil {
			what = words("query "+c.Query.ID, field("name", c.Query.Name))
		}
		return string(c.Op), what
	case *structs.TombstoneRequest:
		return c.Op, fmt.Sprintf("tombstones up to index %d", c.ReapIndex)
	case *structs.MetadataRequest:
		if c.Entry != nil {
			what = c.Entry.Key + " = " + c.Entry.Value
		}
		return string(c.Op), what
	case *structs.AutopilotRequest:
		return "set", "autopilot configuration"
	}
	return "", ""
}

func keyText(e structs.DirEntry) string {
	what := words("key "+e.Key, field("session", e.Session))
	if n := len(e.Value); n > 0 {
		what += fmt.Sprintf(", value of %d bytes", n)
	}
	if e.TTL > 0 {
		what += fmt.Sprintf(", TTL %v", e.TTL)
	}
	return what
}

func txnText(o *structs.TxnOp) string {
	switch {
	case o.KV != nil:
		return string(o.KV.Verb) + " " + keyText(o.KV.DirEnt)
	case o.Node != nil:
		return string(o.Node.Verb) + " node " + o.Node.Node.Node
	case o.Service != nil:
		return words(string(o.Service.Verb)+" service "+o.Service.Service.Service, field("node", o.Service.Node))
	case o.Check != nil:
		return words(string(o.Check.Verb)+" check "+string(o.Check.Check.CheckID), field("node", o.Check.Check.Node))
	case o.Session != nil:
		return string(o.Session.Verb) + " session " + o.Session.Session.ID
	}
	return "nothing"
}

func field(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

// words joins what is not empty by commas.
func words(texts ...string) string {
	var some []string
	for _, t := range texts {
		if t != "" {
			some = append(some, t)
		}
	}
	return strings.Join(some, ", ")
}
