package workload

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"praetor/structs"
)

// FollowHTTP returns the Follow of a server whose HTTP API is at a URL such as
// http://127.0.0.1:8500. A nil client is http.DefaultClient.
func FollowHTTP(base string, through *http.Client) func(context.Context, *structs.FeedRequest, func([]structs.FeedEvent) error) error {
	if through == nil {
		through = http.DefaultClient
	}
	return func(ctx context.Context, q *structs.FeedRequest, take func([]structs.FeedEvent) error) error {
		at := url.Values{}
		if q.After != (structs.FeedPosition{}) {
			at.Set("after", q.After.String())
		}
		if q.Consistent {
			at.Set("consistent", "")
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/watch/kv/"+q.Prefix+"?"+at.Encode(), nil)
		if err != nil {
			return err
		}
		reply, err := through.Do(request)
		if err != nil {
			return structs.Errorf(structs.Unreachable, "feed of %s: %v", base, err)
		}
		defer reply.Body.Close()
		switch {
		case reply.StatusCode >= http.StatusInternalServerError:
			return structs.Errorf(structs.NotReady, "feed of %s: %s", base, reply.Status)
		case reply.StatusCode != http.StatusOK:
			return fmt.Errorf("feed of %s: %s", base, reply.Status)
		}
		for lines := bufio.NewReader(reply.Body); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return nil // it ends so when its server stops, and when it dies
			}
			event, err := parseEvent(line)
			if err == nil {
				err = take([]structs.FeedEvent{event})
			}
			if err != nil {
				return err
			}
		}
	}
}

// parseEvent reads a line of a feed.
func parseEvent(line []byte) (structs.FeedEvent, error) {
	var in struct {
		Type  structs.FeedEventType
		ID    string
		Index uint64
		Epoch string
	}
	var entry structs.DirEntry
	for _, part := range []any{&in, &entry} {
		if err := json.Unmarshal(line, part); err != nil {
			return structs.FeedEvent{}, fmt.Errorf("event %q: %w", line, err)
		}
	}
	event := structs.FeedEvent{Type: in.Type, Index: in.Index, Epoch: in.Epoch}
	if entry.Key != "" {
		event.Entry = &entry
	}
	if in.ID == "" {
		return event, nil
	}
	var err error
	event.At, err = structs.ParseFeedPosition(in.ID)
	return event, err
}
