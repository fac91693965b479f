package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// feedSilence is how long a feed may be silent: servers send something every
// thirty seconds.
var feedSilence = time.Minute

// stream prints the change feed of keys, see docs/watch.md, until ctx ends. It
// goes on behind the last event whenever the feed breaks off.
func (w *watching) stream(ctx context.Context) error {
	for failed := 0; ; {
		heard, err := w.feed(ctx)
		if heard {
			failed = 0
		}
		code, _ := status(err)
		var out *outputError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &out):
			return out.error
		case code == http.StatusNotFound:
			return failf("Error! The server has no change feed: -stream needs a Praetor server")
		}
		from := "the beginning"
		if w.after != "" {
			from = w.after
		}
		if err := w.bear(ctx, err, &failed, from); err != nil {
			return err
		}
	}
}

// feedError is a feed that broke off: it may be gone on with.
type feedError string

func (e feedError) Error() string { return string(e) }
func (feedError) Timeout() bool   { return true }
func (feedError) Temporary() bool { return true }

const (
	errEnded   = feedError("the server ended the feed")
	errSilence = feedError("nothing was heard for too long")
)

// outputError is one of printing.
type outputError struct{ error }

// feed prints events until the feed ends; heard says that there was one.
func (w *watching) feed(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(feedSilence, func() { cancel(errSilence) })
	defer silence.Stop()
	query := url.Values{}
	if w.after != "" {
		query.Set("after", w.after)
	}
	body, err := w.connection.stream(ctx, w.client, "/v1/watch/kv/"+w.key+w.prefix, query)
	if err == nil {
		defer body.Close()
		lines := bufio.NewReader(body)
		for err == nil {
			var line []byte
			if line, err = lines.ReadBytes('\n'); err != nil {
				err = brokeOff(err)
				break
			}
			silence.Reset(feedSilence)
			err = w.tell(line, &heard)
		}
	}
	var out *outputError
	if context.Cause(ctx) == errSilence && !errors.As(err, &out) {
		err = errSilence
	}
	return heard, err
}

// brokeOff is a feed that ended: in good order, or in the middle of a line.
func brokeOff(err error) error {
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	return feedError("the feed broke off: " + err.Error())
}

// tell prints an event, if it is one to print.
func (w *watching) tell(line []byte, heard *bool) error {
	var e struct{ Type, ID, Key, Reason string }
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("reading the feed: %w", err)
	}
	switch {
	case e.Type == "reset":
		if w.streamed {
			fmt.Fprintf(w.stderr, "The feed began anew (%s): what comes up to \"synced\" is how things are now.\n", e.Reason)
		}
		w.after = ""
	case e.ID != "":
		w.after = e.ID
	}
	*heard, w.streamed = true, true
	if e.Type == "progress" || e.Key != "" && w.key != "" && e.Key != w.key {
		return nil
	}
	if _, err := w.stdout.Write(line); err != nil {
		return &outputError{err}
	}
	return nil
}
