package agent

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"praetor/structs"
)

// query holds the parameters of a request. There are few: a list is quicker
// than a map.
type query []parameter

type parameter struct{ name, value string }

// get returns the first value of a parameter, "" if it is not there.
func (q query) get(name string) string {
	for i := range q {
		if q[i].name == name {
			return q[i].value
		}
	}
	return ""
}

func (q query) has(name string) bool {
	for i := range q {
		if q[i].name == name {
			return true
		}
	}
	return false
}

// datacenter is the one that the request names; empty is ours.
func (q query) datacenter() string {
	if dc := q.get("datacenter"); dc != "" {
		return dc
	}
	return q.get("dc")
}

// parse appends the parameters of a raw query, by the rules of url.ParseQuery.
func (q query) parse(raw string) (query, error) {
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if strings.Contains(part, ";") {
			return q, &statusError{http.StatusInternalServerError, ""}
		}
		name, value, _ := strings.Cut(part, "=")
		name, err := unescape(name)
		if err != nil {
			return q, err
		}
		if value, err = unescape(value); err != nil {
			return q, err
		}
		q = append(q, parameter{name, value})
	}
	return q, nil
}

func unescape(s string) (string, error) {
	if !strings.ContainsAny(s, "%+") {
		return s, nil
	}
	s, err := url.QueryUnescape(s)
	if err != nil {
		return "", &statusError{http.StatusInternalServerError, ""}
	}
	return s, nil
}

const (
	textNamespaces = `Invalid %s: "%s" - Namespaces are a Consul Enterprise feature`
	textPartitions = `Invalid %s: "%s" - Partitions are a Consul Enterprise feature`
)

// readParameters reads the parameters and obeys those that mean the same at all
// endpoints.
func (c *exchange) readParameters() (err error) {
	if c.r.Header["X-Consul-Namespace"] != nil {
		return badRequest(textNamespaces, "header", "X-Consul-Namespace")
	}
	if c.r.Header["X-Consul-Partition"] != nil {
		return badRequest(textPartitions, "header", "X-Consul-Partition")
	}
	if c.r.URL.RawQuery == "" {
		return nil
	}
	if c.query, err = c.query.parse(c.r.URL.RawQuery); err != nil {
		return err
	}
	for i := range c.query {
		switch c.query[i].name {
		case "pretty":
			c.pretty = true
		case "ns":
			return badRequest(textNamespaces, "query parameter", "ns")
		case "partition":
			return badRequest(textPartitions, "query parameter", "partition")
		}
	}
	return nil
}

// readOptions reads what a request says about how it is to be read.
func (c *exchange) readOptions(q *structs.QueryOptions) error {
	if lines := c.r.Header["Cache-Control"]; lines != nil {
		if err := readCacheControl(q, lines); err != nil {
			return err
		}
	}
	leader := false
	for i := range c.query {
		value := c.query[i].value
		var err error
		switch c.query[i].name {
		case "stale":
			q.AllowStale = true
		case "consistent":
			q.RequireConsistent = true
		case "leader":
			leader = true
		case "cached":
			q.UseCache = true
		case "index":
			if value == "" {
				continue
			}
			if q.MinQueryIndex, err = strconv.ParseUint(value, 10, 64); err != nil {
				return badRequest("Invalid index")
			}
		case "wait":
			if value == "" {
				continue
			}
			if q.MaxQueryTime, err = time.ParseDuration(value); err != nil {
				return badRequest("Invalid wait time")
			}
		case "max_stale":
			if value == "" {
				continue
			}
			if q.MaxStaleDuration, err = time.ParseDuration(value); err != nil {
				return badRequest("Invalid max_stale value %q", value)
			}
		}
	}
	if q.MaxStaleDuration > 0 {
		q.AllowStale = true
	}
	if q.AllowStale && q.RequireConsistent {
		return badRequest("Cannot specify ?stale with ?consistent, conflicting semantics.")
	}
	if q.UseCache && q.RequireConsistent {
		return badRequest("Cannot specify ?cached with ?consistent, conflicting semantics.")
	}
	if leader {
		q.AllowStale = false
	}
	return nil
}

// readCacheControl reads how old an answer may be. It counts where ?cached has
// a meaning.
func readCacheControl(q *structs.QueryOptions, lines []string) error {
	for _, line := range lines {
		for directive := range strings.SplitSeq(strings.ToLower(line), ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if name == "must-revalidate" {
				q.MustRevalidate = true
			}
			if name != "max-age" && name != "stale-if-error" {
				continue
			}
			seconds, err := strconv.ParseUint(value, 10, 31)
			switch {
			case err != nil:
				return badRequest("Invalid Cache-Control header.")
			case name == "stale-if-error":
				q.StaleIfError = time.Duration(seconds) * time.Second
			case seconds == 0:
				q.MustRevalidate = true
			default:
				q.MaxAge = time.Duration(seconds) * time.Second
			}
		}
	}
	return nil
}
