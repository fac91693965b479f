package agent

import (
	"errors"
	"strconv"
	"time"

	"praetor/structs"
)

var (
	textHit        = []string{"HIT"}
	textMiss       = []string{"MISS"}
	textLeader     = []string{"leader"}
	textStale      = []string{"stale"}
	textConsistent = []string{"consistent"}
)

// readCached is read where ?cached has a meaning. Our server has all of the
// state and keeps it fresh: it is the cache. A hit is an answer from it, as old
// as the last word from the leader; a miss is an answer from the leader, for
// those whom that is too old, by Cache-Control.
func readCached[R any](c *exchange, method string, q *structs.QueryOptions, args any, reply *R, meta *structs.QueryMeta) error {
	if !q.UseCache {
		return c.read(method, q, args, reply, meta)
	}
	asked := q.AllowStale
	var held R
	var age time.Duration
	err := errNotHeld
	if !q.MustRevalidate || q.StaleIfError > 0 {
		q.AllowStale = true
		err = c.call(method, args, reply)
		held, age = *reply, meta.LastContact
		if err == nil && !q.MustRevalidate && (q.MaxAge == 0 || age <= q.MaxAge) {
			c.hit(age)
			return nil
		}
		q.AllowStale = asked && err != nil
	}
	if err2 := c.read(method, q, args, reply, meta); err2 != nil {
		if err == nil && age <= q.StaleIfError {
			*reply = held
			c.hit(age)
			return nil
		}
		return err2
	}
	c.w.Header()["X-Cache"] = textMiss
	return nil
}

var errNotHeld = errors.New("nothing was read from our own server")

func (c *exchange) hit(age time.Duration) {
	header := c.w.Header()
	header["X-Cache"] = textHit
	header["Age"] = []string{strconv.FormatInt(int64(age/time.Second), 10)}
}

// setCatalogMeta is setMeta for the endpoints that also say how they read.
func (c *exchange) setCatalogMeta(q *structs.QueryOptions, m *structs.QueryMeta) {
	c.setMeta(m)
	how := textLeader
	switch {
	case q.RequireConsistent:
		how = textConsistent
	case q.AllowStale:
		how = textStale
	}
	c.w.Header()["X-Consul-Effective-Consistency"] = how
}
