package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/hashicorp/raft"

	"praetor/agent/backup"
	"praetor/structs"
)

// readLimit bounds what is read of one segment: an Archiver ends a segment long
// before, with the one entry that takes it over its size.
const readLimit = 256 << 20

// Log is the archived log as it was when it was opened.
type Log struct {
	target   backup.Target
	segments []Info // in order of name
}

// Open lists the archived log of a target.
func Open(ctx context.Context, target backup.Target) (*Log, error) {
	segments, err := list(ctx, target)
	if err != nil {
		return nil, err
	}
	return &Log{target, segments}, nil
}

// Segments are what there is, in order of index.
func (l *Log) Segments() []Info { return l.segments }

// Chains are the chains there are, the youngest last.
func (l *Log) Chains() []string {
	newest := slices.Clone(l.segments)
	slices.SortStableFunc(newest, func(a, b Info) int { return a.Time.Compare(b.Time) })
	var chains []string
	for _, s := range newest {
		chains = append(slices.DeleteFunc(chains, func(c string) bool { return c == s.Chain }), s.Chain)
	}
	return chains
}

func list(ctx context.Context, target backup.Target) ([]Info, error) {
	objects, err := target.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list the archived log: %w", err)
	}
	var segments []Info
	for _, o := range objects {
		if s, ok := parseName(o.Name); ok {
			s.Size, s.Time = o.Size, o.Time
			segments = append(segments, s)
		}
	}
	return segments, nil
}

// Entries yields the entries of a chain in order of index, each once, beginning
// with from, to the end of what is archived. A chain may be named by the first
// part of its id. A range that is missing in between, or that stands in a
// damaged segment and nowhere else, ends the sequence with an error that names
// it, with code NotFound or Corrupt.
func (l *Log) Entries(ctx context.Context, chain string, from uint64) iter.Seq2[*raft.Log, error] {
	return func(yield func(*raft.Log, error) bool) {
		for next := from; ; {
			entries, err := l.at(ctx, short(chain), next)
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
				next = e.Index + 1
			}
		}
	}
}

// at returns the entries from next to the end of a segment that holds next.
// Where segments overlap, one that is damaged is made up for by another.
func (l *Log) at(ctx context.Context, chain string, next uint64) ([]*raft.Log, error) {
	var damage []error
	var after uint64 // first index of the nearest segment behind next
	for _, s := range l.segments {
		if s.Chain != chain || s.Last < next {
			continue
		}
		if s.First > next {
			if after == 0 || s.First < after {
				after = s.First
			}
			continue
		}
		entries, err := l.read(ctx, s)
		if err == nil {
			return entries[next-s.First:], nil
		}
		if !structs.IsCode(err, structs.Corrupt) && !structs.IsCode(err, structs.NotFound) {
			return nil, err
		}
		damage = append(damage, err)
	}
	if len(damage) > 0 {
		return nil, structs.Errorf(structs.Corrupt, "%v", errors.Join(damage...))
	}
	if after > 0 {
		return nil, structs.Errorf(structs.NotFound, "the archived log has no entries %d to %d of chain %s", next, after-1, chain)
	}
	return nil, io.EOF
}

// read reads one segment whole.
func (l *Log) read(ctx context.Context, s Info) ([]*raft.Log, error) {
	r, err := l.target.Get(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, readLimit))
	if err != nil {
		return nil, fmt.Errorf("read log segment %s: %w", s.Name, err)
	}
	_, entries, err := decode(s.Name, b)
	return entries, err
}
