package state

import (
	"context"

	"github.com/hashicorp/go-memdb"
)

// watches are the channels that a Reader waits for. Who reads one key has three of
// them, and thousands may wait at a time: those do without a map, and without
// memdb's select, which is made for 32.
type watches struct {
	few  [4]<-chan struct{} // the first ones; nil where there is none
	many memdb.WatchSet     // all of them, if there are more
}

func (w *watches) add(ch <-chan struct{}) {
	if w.many == nil {
		for i := range w.few {
			switch w.few[i] {
			case nil:
				w.few[i] = ch
				return
			case ch:
				return
			}
		}
		w.many = memdb.NewWatchSet()
		for _, one := range w.few {
			w.many.Add(one)
		}
	}
	w.many.Add(ch)
}

// wait returns nil as soon as one of the channels is closed, else ctx's error.
func (w *watches) wait(ctx context.Context) error {
	if w.many != nil {
		return w.many.WatchCtx(ctx)
	}
	select {
	case <-w.few[0]:
	case <-w.few[1]:
	case <-w.few[2]:
	case <-w.few[3]:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
