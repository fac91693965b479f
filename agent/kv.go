package agent

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"praetor/structs"
)

var sandbox = []string{"sandbox"}

// kvRead is a read of keys with its reply, in one piece of memory.
type kvRead struct {
	structs.KeyRequest
	reply structs.IndexedDirEntries
}

// kvGet answers with a key, with all that begin with it, or with their names.
func kvGet(c *exchange) error {
	if c.query.has("keys") {
		return kvKeys(c)
	}
	q := &kvRead{KeyRequest: structs.KeyRequest{Datacenter: c.query.datacenter(), Key: c.rest}}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	method := "KV.Get"
	if c.query.has("recurse") {
		method = "KV.List"
	} else if c.rest == "" {
		return errNoKey
	}
	if err := c.read(method, &q.QueryOptions, &q.KeyRequest, &q.reply, &q.reply.QueryMeta); err != nil {
		return err
	}
	c.setMeta(&q.reply.QueryMeta)
	if len(q.reply.Entries) == 0 {
		c.send(http.StatusNotFound, nil, nil)
		return nil
	}
	if c.query.has("raw") {
		header := c.w.Header()
		header["X-Content-Type-Options"], header["Content-Security-Policy"] = nosniff, sandbox
		c.send(http.StatusOK, typeRaw, q.reply.Entries[0].Value)
		return nil
	}
	c.buf = appendEntries(c.buf[:0], q.reply.Entries)
	return c.sendJSON(c.buf)
}

func kvKeys(c *exchange) error {
	q := structs.KeyListRequest{Datacenter: c.query.datacenter(), Prefix: c.rest, Seperator: c.query.get("separator")}
	if q.Seperator == "" {
		q.Seperator = c.query.get("seperator") // older clients spell it so
	}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	var reply structs.IndexedKeyList
	if err := c.read("KV.ListKeys", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setMeta(&reply.QueryMeta)
	if len(reply.Keys) == 0 && c.rest != "" {
		c.send(http.StatusNotFound, nil, nil)
		return nil
	}
	c.buf = append(c.buf[:0], '[')
	for i, key := range reply.Keys {
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		c.buf = appendString(c.buf, key)
	}
	c.buf = append(c.buf, ']')
	return c.sendJSON(c.buf)
}

// kvWrite is a change of keys with its reply, in one piece of memory.
type kvWrite struct {
	structs.KVSRequest
	ok bool
}

func kvPut(c *exchange) error {
	if c.rest == "" {
		return errNoKey
	}
	w := &kvWrite{KVSRequest: structs.KVSRequest{Datacenter: c.query.datacenter(), Op: structs.KVSet}}
	entry := &w.DirEnt
	entry.Key = c.rest
	if len(c.query) > 0 {
		if err := c.conflicting("cas", "acquire", "release"); err != nil {
			return err
		}
	}
	for i := range c.query {
		value := c.query[i].value
		var err error
		switch c.query[i].name {
		case "flags":
			entry.Flags, err = strconv.ParseUint(value, 10, 64)
		case "cas":
			w.Op = structs.KVCAS
			entry.ModifyIndex, err = strconv.ParseUint(value, 10, 64)
		case "acquire":
			w.Op, entry.Session = structs.KVLock, value
		case "release":
			w.Op, entry.Session = structs.KVUnlock, value
		case "ttl":
			entry.TTL, err = parseTTL(value)
		case "fence":
			w.Fence, err = parseFence(value)
		}
		if err != nil {
			return err
		}
	}
	var err error
	if entry.Value, err = c.body(valueLimit(c.settings)); err != nil {
		return err
	}
	return c.kvApply(w)
}

func kvDelete(c *exchange) error {
	w := &kvWrite{KVSRequest: structs.KVSRequest{Datacenter: c.query.datacenter(), Op: structs.KVDelete}}
	w.DirEnt.Key = c.rest
	if err := c.conflicting("recurse", "cas"); err != nil {
		return err
	}
	if c.query.has("fence") {
		var err error
		if w.Fence, err = parseFence(c.query.get("fence")); err != nil {
			return err
		}
	}
	switch {
	case c.query.has("recurse"):
		w.Op = structs.KVDeleteTree
	case c.rest == "":
		return errNoKey
	case c.query.has("cas"):
		w.Op = structs.KVDeleteCAS
		var err error
		if w.DirEnt.ModifyIndex, err = strconv.ParseUint(c.query.get("cas"), 10, 64); err != nil {
			return err
		}
	}
	return c.kvApply(w)
}

var errNoKey = badRequest("Missing key name")

func (c *exchange) kvApply(w *kvWrite) error {
	start := time.Now()
	if err := c.call("KV.Apply", &w.KVSRequest, &w.ok); err != nil {
		return err
	}
	c.router.kvApply.since(start)
	switch w.Op {
	case structs.KVSet, structs.KVDelete, structs.KVDeleteTree:
		w.ok = true // these cannot but work
	}
	return c.replyBool(w.ok)
}

// appendEntries writes what json.Marshal would, without its reflection.
func appendEntries(b []byte, entries []*structs.DirEntry) []byte {
	b = append(b, '[')
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"LockIndex":`...)
		b = strconv.AppendUint(b, e.LockIndex, 10)
		b = append(b, `,"Key":`...)
		b = appendString(b, e.Key)
		b = append(b, `,"Flags":`...)
		b = strconv.AppendUint(b, e.Flags, 10)
		b = append(b, `,"Value":`...)
		if len(e.Value) == 0 {
			b = append(b, "null"...)
		} else {
			b = append(b, '"')
			b = base64.StdEncoding.AppendEncode(b, e.Value)
			b = append(b, '"')
		}
		if e.Session != "" {
			b = append(b, `,"Session":`...)
			b = appendString(b, e.Session)
		}
		b = append(b, `,"CreateIndex":`...)
		b = strconv.AppendUint(b, e.CreateIndex, 10)
		b = append(b, `,"ModifyIndex":`...)
		b = strconv.AppendUint(b, e.ModifyIndex, 10)
		if e.TTL != 0 {
			b = append(b, `,"TTL":"`...)
			b = append(b, e.TTL.String()...)
			b = append(b, '"')
		}
		b = append(b, '}')
	}
	return append(b, ']')
}
