package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"praetor/agent/backup"
	"praetor/structs"
)

const (
	gapPrefix = "gap/"
	shownGaps = 10
)

// writeGap records a gap in the target.
func writeGap(ctx context.Context, target backup.Target, g *structs.LogGap) error {
	text, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return target.Put(ctx, fmt.Sprintf("%s%013d-%s.json", gapPrefix, g.Time.UnixMilli(), g.Next), bytes.NewReader(text))
}

// readGaps reads the last few gaps that were recorded.
func readGaps(ctx context.Context, target backup.Target) ([]structs.LogGap, error) {
	objects, err := target.List(ctx, gapPrefix)
	if err != nil {
		return nil, err
	}
	var gaps []structs.LogGap
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
		var g structs.LogGap
		if json.Unmarshal(text, &g) == nil { // what cannot be read is for people to look at
			gaps = append(gaps, g)
		}
	}
	return gaps, nil
}
