package journal

import (
	"context"

	"github.com/hashicorp/raft"
)

// Turn archives what there is, as Run does now and then.
func (a *Archiver) Turn(ctx context.Context) { a.turn(ctx) }

// Encode makes a segment.
func Encode(chain string, logs []*raft.Log) (name string, segment []byte) {
	b := builder{header: header{Chain: chain}}
	for _, log := range logs {
		b.add(log)
	}
	segment, err := b.encode()
	if err != nil {
		panic(err)
	}
	return b.name(), segment
}

// Decode reads one.
func Decode(name string, segment []byte) ([]*raft.Log, error) {
	_, logs, err := decode(name, segment)
	return logs, err
}
