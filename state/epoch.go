package state

import "praetor/structs"

// Epoch is one life of a state. Another begins when a snapshot is restored, and
// when a cluster goes on from what a lost quorum has left: what clients knew of
// the state before need not be true any more.
//
// It is kept as a system-metadata entry. A leader that restores a snapshot puts
// one without an index at the snapshot's end, and it counts from the raft index
// that the snapshot then has: the same on every server that takes it over, now
// or later, from another or from its own disk.
type Epoch struct {
	ID    string // made by a leader; "" while none has
	Floor uint64 // raft index at which it began; 0 for the first one
}

// Epoch is that of what the reader sees.
func (r *Reader) Epoch() *Epoch { return r.epoch }

// Epoch is the store's as of now.
func (s *Store) Epoch() *Epoch { return s.epoch.Load() }

// BeginEpoch says at which raft index the store was filled from a snapshot. It
// counts for an epoch that came with it and has not begun.
func (s *Store) BeginEpoch(index uint64) {
	w := s.Write()
	defer w.Abort()
	row := epochRow(&w.Reader)
	if row == nil || row.ModifyIndex != 0 {
		return
	}
	dated := *row
	dated.ModifyIndex = index
	w.insert(Metadata.name, &dated)
	w.Commit()
}

// EndEpoch takes away the epoch's id, so that the next leader makes another. It
// is for a state that goes on without knowing what others have acknowledged.
func (s *Store) EndEpoch() {
	w := s.Write()
	defer w.Abort()
	row := epochRow(&w.Reader)
	if row == nil {
		return
	}
	ended := *row
	ended.Value = ""
	w.insert(Metadata.name, &ended)
	w.Commit()
}

func epochRow(r *Reader) *structs.MetadataEntry { return Metadata.get(r, key(structs.EpochKey)) }

// epochOf reads the epoch from the state. The first one of a cluster was
// created by the entry that it has begun with, and nobody knows anything from
// before it.
func epochOf(r *Reader) *Epoch {
	row := epochRow(r)
	if row == nil {
		return &Epoch{}
	}
	e := &Epoch{ID: row.Value}
	if row.ModifyIndex != row.CreateIndex {
		e.Floor = row.ModifyIndex
	}
	return e
}
