package rpcserver_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
)

// Every method takes a request that says nothing: it answers or refuses, with a
// code, and does not panic.
func TestEveryMethodTakesZeroArguments(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, m := range rpcserver.Methods() {
		t.Run(m.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = fmt.Errorf("panic: %v", p)
					}
				}()
				return s.Call(ctx, m.Name, m.Args(), m.Reply())
			}()
			if err != nil && structs.CodeOf(err) == structs.Internal {
				t.Errorf("got %v, want an answer or an error with a code", err)
			}
		})
	}
}

// Names are Service.Method, each once, and every KV method is Consul's KVS too.
func TestMethodNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range rpcserver.Methods() {
		if service, rest, ok := strings.Cut(m.Name, "."); !ok || service == "" || rest == "" || strings.Contains(rest, ".") {
			t.Errorf("%s is not Service.Method", m.Name)
		}
		if seen[m.Name] {
			t.Errorf("%s stands in the table twice", m.Name)
		}
		seen[m.Name] = true
		if rest, ok := strings.CutPrefix(m.Name, "KV."); ok && !rpcserver.SameMethod(m.Name, "KVS."+rest) {
			t.Errorf("%s does not answer to KVS.%s", m.Name, rest)
		}
	}
	if len(seen) == 0 {
		t.Error("the table is empty: this test does not look at it")
	}
}
