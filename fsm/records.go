package fsm

import (
	"slices"

	"praetor/state"
	"praetor/structs"
)

// records is the snapshot stream's table of contents: which types there are and
// in what order they are written, which is Consul's (consul-wire.md 6.2).
// Records are read back in any order.
var records = []record{
	carried(32), carried(33),
	registrations(),
	coordinates(),
	rows(structs.SessionRequestType, state.Sessions, func(s *structs.Session) uint64 { return s.ModifyIndex }),
	carried(17), carried(19), carried(23), carried(25), carried(27), // ACL
	keys(),
	tombstones(),
	rows(structs.PreparedQueryRequestType, state.PreparedQueries, func(q *structs.PreparedQuery) uint64 { return q.ModifyIndex }),
	rows(structs.AutopilotRequestType, state.AutopilotConfig, nil),
	carried(12), carried(13), carried(14), carried(15), carried(22), carried(30), // mesh
	rows(structs.SystemMetadataRequestType, state.Metadata, nil),
	rows(structs.IndexType, state.Indexes, nil),
	carried(35), carried(38), carried(40), carried(42), // peering, resources
	chunking(),
}

// record says how the records of one type are written and read.
type record struct {
	kind    structs.MessageType
	table   string // whose rows they are, if they are
	write   func(s *stream, v *View) error
	decode  func(value []byte) (any, error) // keeps nothing of value, and sees nothing but it
	restore func(l *loader, decoded any) error
}

// reads makes the two halves of reading a record fit together.
func reads[T any](r record, restore func(l *loader, row *T) error) record {
	r.decode = func(value []byte) (any, error) {
		row := new(T)
		return row, structs.DecodeValue(value, row)
	}
	r.restore = func(l *loader, decoded any) error { return restore(l, decoded.(*T)) }
	return r
}

// read reads one record.
func (r *record) read(l *loader, value []byte) error {
	decoded, err := r.decode(value)
	if err != nil {
		return err
	}
	return r.restore(l, decoded)
}

// recordOf finds how a type is read. A type below 64 that is not listed is
// carried: a Consul newer than this list may write one.
func recordOf(kind structs.MessageType) *record {
	for i := range records {
		if records[i].kind == kind {
			return &records[i]
		}
	}
	r := carried(kind)
	return &r
}

// rows are the rows of one table. index, if there is one, gives the raft index
// that the table has at least when the row is there.
func rows[T any](kind structs.MessageType, table *state.Table[T], index func(*T) uint64) record {
	return reads(record{
		kind:  kind,
		table: table.Name(),
		write: func(s *stream, v *View) error {
			for row := range table.All(v.reader) {
				if err := s.record(kind, row); err != nil {
					return err
				}
			}
			return nil
		},
	}, func(l *loader, row *T) error {
		var atLeast uint64
		if index != nil {
			atLeast = index(row)
		}
		table.Restore(l.writer, row, atLeast)
		return nil
	})
}

// registrations are the catalog: three tables in records of one type.
func registrations() record {
	return reads(record{
		kind: structs.RegisterRequestType,
		write: func(s *stream, v *View) error {
			return state.Registrations(v.reader, func(c *structs.RegisterRequest) error {
				return s.record(structs.RegisterRequestType, c)
			})
		},
	}, func(l *loader, c *structs.RegisterRequest) error {
		return state.RestoreRegistration(l.writer, c, l.Header.LastIndex)
	})
}

// keys go with what is known of their TTL.
func keys() record {
	return reads(record{
		kind:  structs.KVSRequestType,
		table: state.KVs.Name(),
		write: func(s *stream, v *View) error {
			for row := range state.KVs.All(v.reader) {
				if row.TTL != 0 {
					timed := *row
					if ttl := v.reader.KeyTTL(row.Key); ttl != nil {
						timed.TTLIndex = ttl.Index
					}
					row = &timed
				}
				if err := s.record(structs.KVSRequestType, row); err != nil {
					return err
				}
			}
			return nil
		},
	}, func(l *loader, row *structs.DirEntry) error {
		state.RestoreKV(l.writer, row)
		return nil
	})
}

// tombstones go disguised as keys. Consul writes and reads only their name and
// index; what is left of a lock stands in the fields that a key has for it.
func tombstones() record {
	return reads(record{
		kind:  structs.TombstoneRequestType,
		table: state.Tombstones.Name(),
		write: func(s *stream, v *View) error {
			for t := range state.Tombstones.All(v.reader) {
				disguise := structs.DirEntry{
					Key: t.Key, RaftIndex: structs.RaftIndex{ModifyIndex: t.Index},
					LockIndex: t.LockIndex, LockDelay: t.LockDelay, LockDelayIndex: t.LockDelayIndex,
				}
				if err := s.record(structs.TombstoneRequestType, &disguise); err != nil {
					return err
				}
			}
			return nil
		},
	}, func(l *loader, disguise *structs.DirEntry) error {
		t := &structs.Tombstone{
			Key: disguise.Key, Index: disguise.ModifyIndex,
			LockIndex: disguise.LockIndex, LockDelay: disguise.LockDelay, LockDelayIndex: disguise.LockDelayIndex,
		}
		state.Tombstones.Restore(l.writer, t, t.Index)
		return nil
	})
}

// coordinates are written one by one, each as a batch of its own. What is not a
// coordinate that distances can be told from is dropped when it is read.
func coordinates() record {
	return reads(record{
		kind:  structs.CoordinateBatchUpdateType,
		table: state.Coordinates.Name(),
		write: func(s *stream, v *View) error {
			for c := range state.Coordinates.All(v.reader) {
				if err := s.record(structs.CoordinateBatchUpdateType, &structs.CoordinateBatch{c}); err != nil {
					return err
				}
			}
			return nil
		},
	}, func(l *loader, batch *structs.CoordinateBatch) error {
		for _, c := range *batch {
			if c != nil && c.Valid() {
				state.Coordinates.Restore(l.writer, c, 0)
			}
		}
		return nil
	})
}

// carried records are not ours to understand: they are kept as bytes, in the
// order in which they came.
func carried(kind structs.MessageType) record {
	return record{
		kind:  kind,
		table: state.CarriedRecords.Name(),
		write: func(s *stream, v *View) error {
			for row := range state.CarriedOf(v.reader, kind) {
				if err := s.raw(kind, row.Data); err != nil {
					return err
				}
			}
			return nil
		},
		decode: func(value []byte) (any, error) {
			return &structs.Carried{Kind: kind, Data: append([]byte(nil), value...)}, nil
		},
		restore: func(l *loader, decoded any) error {
			row := decoded.(*structs.Carried)
			l.carried++
			row.Order = l.carried
			state.CarriedRecords.Restore(l.writer, row, 0)
			return nil
		},
	}
}

// chunking is the parts of large entries of which not all have arrived. It
// comes last and is always there.
func chunking() record {
	return reads(record{
		kind: structs.ChunkingStateType,
		write: func(s *stream, v *View) error {
			pending := v.chunks.pending
			if pending == nil {
				pending = map[uint64][]*structs.Chunk{}
			}
			return s.record(structs.ChunkingStateType, &structs.ChunkingState{ChunkMap: pending})
		},
	}, func(l *loader, c *structs.ChunkingState) error {
		l.chunks.pending = c.ChunkMap
		return nil
	})
}

// unlisted writes carried records whose type stands nowhere in the list.
func unlisted(s *stream, v *View) error {
	for _, kind := range state.CarriedKinds(v.reader) {
		listed := func(r record) bool { return r.kind == kind }
		if slices.ContainsFunc(records, listed) {
			continue
		}
		if err := carried(kind).write(s, v); err != nil {
			return err
		}
	}
	return nil
}
