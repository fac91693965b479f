package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"praetor/agent/backup"
	"praetor/structs"
)

// Gap is a place where the archived log breaks off. The states between the last
// entry before it and the first backup behind it cannot be built again.
type Gap struct {
	From, To    uint64 // indexes that are not archived; To < From: none, but what follows is another history
	Chain, Next string // that ended, and that began
	Reason      string
	Time        time.Time // when it was found
}

// String is one line for people.
func (g Gap) String() string {
	if g.To < g.From {
		return fmt.Sprintf("after entry %d: %s", g.From-1, g.Reason)
	}
	return fmt.Sprintf("entries %d to %d: %s", g.From, g.To, g.Reason)
}

const (
	gapPrefix = "gap/"
	shownGaps = 10
)

func (g Gap) write(ctx context.Context, target backup.Target) error {
	text, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return target.Put(ctx, fmt.Sprintf("%s%013d-%s.json", gapPrefix, g.Time.UnixMilli(), g.Next), bytes.NewReader(text))
}

// readGaps reads the last few gaps that were recorded.
func readGaps(ctx context.Context, target backup.Target) ([]Gap, error) {
	objects, err := target.List(ctx, gapPrefix)
	if err != nil {
		return nil, err
	}
	var gaps []Gap
	for _, o := range objects[max(0, len(objects)-shownGaps):] {
		r, err := target.Get(ctx, o.Name)
		if structs.IsCode(err, structs.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(io.LimitReader(r, 64<<10))
		r.Close()
		if err != nil {
			return nil, err
		}
		var g Gap
		if json.Unmarshal(text, &g) == nil { // what cannot be read is for people to look at
			gaps = append(gaps, g)
		}
	}
	return gaps, nil
}
