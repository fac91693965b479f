package agent

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"praetor/structs"
)

// keyringJSON is one pool's keys as Consul's JSON shows them.
type keyringJSON struct {
	WAN         bool
	Datacenter  string
	Segment     string
	Messages    map[string]string `json:",omitempty"`
	Keys        map[string]int
	PrimaryKeys map[string]int
	NumNodes    int
}

func keyringList(c *exchange) error {
	q := structs.KeyringRequest{Operation: structs.KeyringList}
	if text := c.query.get("local-only"); text != "" {
		var err error
		if q.LocalOnly, err = strconv.ParseBool(text); err != nil {
			return badRequest("Error parsing local-only: %v", err)
		}
	}
	reply, err := c.keyring(&q)
	if err != nil {
		return err
	}
	out := []keyringJSON{}
	for _, r := range reply.Responses {
		out = append(out, keyringJSON{r.WAN, r.Datacenter, r.Segment, r.Messages, r.Keys, r.PrimaryKeys, r.NumNodes})
	}
	return c.reply(out)
}

// keyringChange makes the endpoint of one operation on the key in the body.
func keyringChange(op structs.KeyringOp) func(*exchange) error {
	return func(c *exchange) error {
		var body struct{ Key string }
		if err := c.decode(maxRegistration, &body); err != nil {
			return err
		}
		if c.query.has("local-only") && c.query.get("local-only") != "false" {
			return badRequest("Invalid use of local-only: local-only can only be set for list requests")
		}
		if _, err := c.keyring(&structs.KeyringRequest{Operation: op, Key: body.Key}); err != nil {
			return err
		}
		return c.done()
	}
}

// keyring has an operation done. What any node says against it is an error.
func (c *exchange) keyring(q *structs.KeyringRequest) (*structs.KeyringResponses, error) {
	q.Datacenter = c.query.datacenter()
	if text := c.query.get("relay-factor"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, badRequest("Error parsing relay factor: %v", err)
		}
		if n < 0 || n > structs.MaxRelayFactor {
			return nil, badRequest("Invalid relay-factor: Relay factor must be in range: [0, %d]", structs.MaxRelayFactor)
		}
		q.RelayFactor = uint8(n)
	}
	var reply structs.KeyringResponses
	if err := c.call("Internal.KeyringOperation", q, &reply); err != nil {
		return nil, err
	}
	var errs []string
	for _, r := range reply.Responses {
		if r.Error == "" {
			continue
		}
		pool := r.Datacenter + " (LAN)"
		if r.WAN {
			pool = "WAN"
		}
		errs = append(errs, pool+" error: "+r.Error)
		for _, node := range slices.Sorted(maps.Keys(r.Messages)) {
			errs = append(errs, node+": "+r.Messages[node])
		}
	}
	if len(errs) > 0 {
		return nil, structs.Errorf(structs.Conflict, "%s", listed(errs))
	}
	return &reply, nil
}

// listed puts errors one below the other, as Consul does.
func listed(errs []string) string {
	noun := "errors"
	if len(errs) == 1 {
		noun = "error"
	}
	return fmt.Sprintf("%d %s occurred:\n\t* %s\n\n", len(errs), noun, strings.Join(errs, "\n\t* "))
}
