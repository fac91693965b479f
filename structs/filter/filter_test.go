package filter_test

import (
	"strings"
	"testing"
	"time"

	"praetor/structs"
	"praetor/structs/filter"
)

func rows() []structs.CheckServiceNode {
	instance := func(node, version string, port int, statuses ...string) structs.CheckServiceNode {
		row := structs.CheckServiceNode{
			Node: &structs.Node{Node: node, Meta: map[string]string{"os": "linux", "path/a": "/x", node: "1"}},
			Service: &structs.NodeService{
				ID: "id-" + node, Service: "web", Tags: []string{"v" + version, "all"}, Port: port,
				Meta: map[string]string{"version": version}, EnableTagOverride: port == 80,
			},
		}
		for _, s := range statuses {
			row.Checks = append(row.Checks, &structs.HealthCheck{CheckID: "c", Status: s})
		}
		return row
	}
	first := instance("a", "1", 80, "passing", "warning")
	first.Service.Weights = &structs.Weights{Passing: 3, Warning: 1}
	return []structs.CheckServiceNode{first, instance("b", "2", 81, "passing"), instance("and", "3", 82)}
}

func TestRows(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"":                                      "a b and",
		"Node.Node == a":                        "a",
		`Node.Node=="a"`:                        "a",
		"Node.Node == `a`":                      "a",
		"Node.Node != a":                        "b and",
		"Node.Node == and":                      "and",
		"Node.Node == and or Node.Node == b":    "b and",
		"Service.Meta.version == 2":             "b",
		`Service.Meta["version"] == 2`:          "b",
		"Service.Meta.nope == 2":                "",
		"Service.Meta.nope != 2":                "a b and",
		"Service.Meta.nope matches `.*`":        "",
		"version in Service.Meta":               "a b and",
		"Service.Meta contains b":               "",
		"Node.Meta contains b":                  "b",
		"v1 in Service.Tags":                    "a",
		"v1 not in Service.Tags":                "b and",
		"Service.Tags contains v2":              "b",
		"Service.Tags is empty":                 "",
		"Service.Tags is not empty":             "a b and",
		"Checks is empty":                       "and",
		"Checks.Status == warning":              "a",
		"Checks.Status != passing":              "a", // some check is not passing
		"not Checks.Status == passing":          "and",
		"Checks.Status matches `^w`":            "a",
		"Service.Port == 81":                    "b",
		"Service.EnableTagOverride == true":     "a",
		"Service.Weights.Passing == 3":          "a",
		"Service.Weights.Passing != 3":          "b and", // where there are none, they are not 3
		"Service.Proxy.Mode == ``":              "a b and",
		`Service.Proxy.Mode == ""`:              "a b and",
		`Node.Meta["path/a"] == "/x"`:           "a b and",
		"id in Service.ID":                      "a b and", // part of the text
		"(Node.Node == a)":                      "a",
		"( Node.Node == a ) or(Node.Node == b)": "a b",
		"Node.Node == a and Service.Port == 80 or Node.Node == b":            "a b",
		"Node.Node == a and (Service.Port == 81 or Node.Node == b)":          "",
		"not (Node.Node == a or Node.Node == b)":                             "and",
		"not not Node.Node == a":                                             "a",
		"Node.Node == `a or b`":                                              "",
		"Node.Node == \"(\" or Node.Node == a":                               "a",
		"\n\tNode.Node == a\n":                                               "a",
		strings.Repeat("(", 60) + "Node.Node == a" + strings.Repeat(")", 60): "a",
	} {
		given := rows()
		found, err := filter.Rows(expression, given)
		var names []string
		for _, row := range found {
			names = append(names, row.Node.Node)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", expression, got, err, want)
		}
	}
}

// What makes no sense is refused before a row is looked at, and quickly.
func TestRefused(t *testing.T) {
	t.Parallel()
	const prefix = "Failed to create boolean expression evaluator: "
	for expression, want := range map[string]string{
		"Nope == 1":                         `Selector "Nope" is not valid`,
		"Node.Nope == 1":                    `Selector "Node.Nope" is not valid`,
		"Node.CreateIndex == 1":             `Selector "Node.CreateIndex" is not valid`,
		"Service.Proxy.Config.a == 1":       `Invalid match operator "Equal" for selector "Service.Proxy.Config.a"`,
		"Node == a":                         `Invalid match operator "Equal" for selector "Node"`,
		"Service.Port == x":                 `Failed to coerce value "x" for selector "Service.Port": `,
		"Node.Node matches `(`":             "Failed to compile regular expression",
		"Node.Node ==":                      "byte 1: ",
		"Node.Node":                         "byte 1: ",
		"and":                               "byte 1: ",
		"Node.Node == a and":                "byte 19: ",
		"Node.Node == a b":                  "byte 1: ",
		"(Node.Node == a":                   "byte 16: Unmatched parentheses",
		"Node.Node == a)":                   `byte 15: unexpected ")"`,
		"Node.Node == \"a":                  "byte 14: Unterminated string literal",
		"()":                                "byte 2: ",
		"any Checks as c { c.Status == a }": "byte 1: ",
		"Checks.Status.x == a":              `Selector "Checks.Status.x" is not valid`,
		strings.Repeat("(", 4000):           "byte 66: more than 64 brackets and nots in one another (the limit of a filter's depth)",
		strings.Repeat("not ", 900):         "byte 260: more than 64 brackets",
		strings.Repeat("(", 20_000):         "the filter has 20000 bytes, more than 4096 (the limit of a filter's length)",
		strings.Repeat("[", 4000):           "byte 1: ",
		"Node.Node == " + strings.Repeat("`", 4001): "byte ",
		strings.Repeat("x.", 2000) + "x == 1":       `Selector "x.x.`,
	} {
		start := time.Now()
		err := filter.Check[structs.CheckServiceNode](expression)
		if !structs.IsCode(err, structs.Invalid) || !strings.HasPrefix(err.Error(), prefix+want) {
			t.Errorf("%.60s: got %v, want %s%s...", expression, err, prefix, want)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%.60s: took %v", expression, took)
		}
	}
}

func FuzzRows(f *testing.F) {
	for _, seed := range []string{"Node.Node == a and (v1 in Service.Tags or not Checks is empty)", `Service.Meta["a"] != "/b"`, "((", "Node matches `["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		if _, err := filter.Rows(expression, rows()); err != nil && !structs.IsCode(err, structs.Invalid) {
			t.Errorf("%q: %v, want code Invalid", expression, err)
		}
	})
}
