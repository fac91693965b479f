package agent

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"praetor/structs"
)

// takeTime is how long a client of a feed may take nothing before it is cut off.
const takeTime = 30 * time.Second

var (
	typeNDJSON  = []string{"application/x-ndjson"}
	typeSSE     = []string{"text/event-stream"}
	noStore     = []string{"no-store"}
	noBuffering = []string{"no"}
)

// feedKV answers with the changes of keys as they come, see docs/watch.md.
func feedKV(c *exchange) error {
	q := structs.FeedRequest{Datacenter: c.query.datacenter(), Prefix: c.rest}
	var options structs.QueryOptions
	err := c.readOptions(&options)
	if err != nil {
		return err
	}
	q.Consistent = options.RequireConsistent
	if q.After, err = c.feedPosition(options.MinQueryIndex); err != nil {
		return err
	}
	feed, err := c.server.OpenFeed(c.r.Context(), &q)
	if err != nil {
		return err
	}
	out := &feedWriter{w: c.w, flush: http.NewResponseController(c.w), event: appendLine, patience: takeTime}
	header := c.w.Header()
	header["Content-Type"], header["Cache-Control"] = typeNDJSON, noStore
	if strings.Contains(c.r.Header.Get("Accept"), "text/event-stream") {
		header["Content-Type"], out.event = typeSSE, appendSSE
		header["X-Accel-Buffering"] = noBuffering // nginx would hold events back
	}
	c.setMeta(feed.Meta())
	c.w.WriteHeader(http.StatusOK)
	if out.flush.Flush() == nil {
		_ = feed.Run(c.r.Context(), out.send) // the client has hung up, or takes nothing: nobody to tell
	}
	return nil
}

// feedPosition is where the client asks to go on.
func (c *exchange) feedPosition(index uint64) (structs.FeedPosition, error) {
	after := c.r.Header.Get("Last-Event-ID")
	if after == "" {
		if err := c.conflicting("index", "after"); err != nil {
			return structs.FeedPosition{}, err
		}
		after = c.query.get("after")
	}
	if after == "" {
		return structs.After(index), nil
	}
	at, err := structs.ParseFeedPosition(after)
	if err != nil {
		return at, badRequest("%v", err)
	}
	return at, nil
}

// feedWriter sends events to a client. It holds no memory between two batches.
type feedWriter struct {
	w        http.ResponseWriter
	flush    *http.ResponseController
	event    func([]byte, *structs.FeedEvent) []byte
	patience time.Duration // how long the client may take nothing
}

// feedBuffers are for encoding a batch: they are too many to keep for each
// client, and too large to make for each batch.
var feedBuffers = sync.Pool{New: func() any { return new([]byte) }}

// flushFrom is the size in bytes from which a batch is sent in parts.
const flushFrom = 128 << 10

func (f *feedWriter) send(events []structs.FeedEvent) error {
	buf := feedBuffers.Get().(*[]byte)
	b := (*buf)[:0]
	defer func() {
		if cap(b) <= keepBuffer {
			*buf = b
			feedBuffers.Put(buf)
		}
	}()
	// Recorders of tests cannot do it, and have no client that could be stuck.
	_ = f.flush.SetWriteDeadline(time.Now().Add(f.patience))
	for i := range events {
		if b = f.event(b, &events[i]); len(b) < flushFrom && i < len(events)-1 {
			continue
		}
		if _, err := f.w.Write(b); err != nil {
			return err
		}
		b = b[:0]
		_ = f.flush.SetWriteDeadline(time.Now().Add(f.patience))
	}
	err := f.flush.Flush()
	_ = f.flush.SetWriteDeadline(time.Time{}) // HTTP/2 ends an idle stream at its deadline
	return err
}

// appendLine writes an event as a line of JSON.
func appendLine(b []byte, e *structs.FeedEvent) []byte { return append(appendEvent(b, e), '\n') }

// appendSSE writes an event as Server-Sent Events do. An empty id makes a client
// forget the last one.
func appendSSE(b []byte, e *structs.FeedEvent) []byte {
	if e.At.Index > 0 {
		b = append(b, "id: "...)
		b = append(e.At.Append(b), '\n')
	} else if e.Type == structs.FeedReset {
		b = append(b, "id\n"...)
	}
	b = append(b, "event: "...)
	b = append(b, e.Type...)
	b = append(b, "\ndata: "...)
	return append(appendEvent(b, e), "\n\n"...)
}

func appendEvent(b []byte, e *structs.FeedEvent) []byte {
	b = append(b, `{"Type":"`...)
	b = append(b, e.Type...)
	b = append(b, '"')
	if e.At.Index > 0 {
		b = append(b, `,"ID":"`...)
		b = append(e.At.Append(b), '"')
	}
	if e.Index > 0 || e.Entry == nil {
		b = append(b, `,"Index":`...)
		b = strconv.AppendUint(b, e.Index, 10)
	}
	switch e.Type {
	case structs.FeedReset:
		b = append(b, `,"Reason":`...)
		b = appendString(b, e.Reason)
		if e.Epoch != "" {
			b = append(b, `,"Epoch":`...)
			b = appendString(b, e.Epoch)
		}
	case structs.FeedProgress:
		b = append(b, `,"KnownLeader":`...)
		b = strconv.AppendBool(b, e.KnownLeader)
		b = append(b, `,"LastContact":`...)
		b = strconv.AppendInt(b, e.LastContact.Milliseconds(), 10)
	case structs.FeedPut, structs.FeedDelete, structs.FeedExpire:
		b = appendFeedEntry(b, e.Entry, e.Type == structs.FeedPut)
	}
	return append(b, '}')
}

// appendFeedEntry writes the fields of an entry; of one that is gone, there is
// no value.
func appendFeedEntry(b []byte, e *structs.DirEntry, withValue bool) []byte {
	b = append(b, `,"Key":`...)
	b = appendString(b, e.Key)
	switch {
	case !withValue:
	case len(e.Value) == 0:
		b = append(b, `,"Value":null`...)
	default:
		b = append(b, `,"Value":"`...)
		b = base64.StdEncoding.AppendEncode(b, e.Value)
		b = append(b, '"')
	}
	b = append(b, `,"Flags":`...)
	b = strconv.AppendUint(b, e.Flags, 10)
	if e.Session != "" {
		b = append(b, `,"Session":`...)
		b = appendString(b, e.Session)
	}
	b = append(b, `,"LockIndex":`...)
	b = strconv.AppendUint(b, e.LockIndex, 10)
	b = append(b, `,"CreateIndex":`...)
	b = strconv.AppendUint(b, e.CreateIndex, 10)
	b = append(b, `,"ModifyIndex":`...)
	b = strconv.AppendUint(b, e.ModifyIndex, 10)
	if e.TTL > 0 {
		b = append(b, `,"TTL":`...)
		b = appendString(b, e.TTL.String())
	}
	return b
}
