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
	carried(structs.CoordinateBatchUpdateType),
	carried(structs.SessionRequestType),
	carried(17), carried(19), carried(23), carried(25), carried(27), // ACL
	rows(structs.KVSRequestType, state.KVs, func(e *structs.DirEntry) uint64 { return e.ModifyIndex }),
	tombstones(),
	carried(structs.PreparedQueryRequestType),
	rows(structs.AutopilotRequestType, state.AutopilotConfig, nil),
	carried(12), carried(13), carried(14), carried(15), carried(22), carried(30), // mesh
	rows(structs.SystemMetadataRequestType, state.Metadata, nil),
	rows(structs.IndexType, state.Indexes, nil),
	carried(35), carried(38), carried(40), carried(42), // peering, resources
	chunking(),
}

// record says how the records of one type are written and read.
type record struct {
	kind  structs.MessageType
	table string // whose rows they are, if they are
	write func(s *stream, v *View) error
	read  func(l *loader, value []byte) error
}

// recordOf finds how a type is read. A type below 64 that is not listed is
// carried: a Consul newer than this list may write one.
func recordOf(kind structs.MessageType) record {
	for _, r := range records {
		if r.kind == kind {
			return r
		}
	}
	return carried(kind)
}

// rows are the rows of one table. index, if there is one, gives the raft index
// that the table has at least when the row is there.
func rows[T any](kind structs.MessageType, table *state.Table[T], index func(*T) uint64) record {
	return record{
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
		read: func(l *loader, value []byte) error {
			row := new(T)
			if err := structs.DecodeValue(value, row); err != nil {
				return err
			}
			var atLeast uint64
			if index != nil {
				atLeast = index(row)
			}
			table.Restore(l.writer, row, atLeast)
			return nil
		},
	}
}

// registrations are the catalog: three tables in records of one type.
func registrations() record {
	return record{
		kind: structs.RegisterRequestType,
		write: func(s *stream, v *View) error {
			return state.Registrations(v.reader, func(c *structs.RegisterRequest) error {
				return s.record(structs.RegisterRequestType, c)
			})
		},
		read: func(l *loader, value []byte) error {
			c := new(structs.RegisterRequest)
			if err := structs.DecodeValue(value, c); err != nil {
				return err
			}
			return state.RestoreRegistration(l.writer, c, l.Header.LastIndex)
		},
	}
}

// tombstones go disguised as keys of which only name and index count.
func tombstones() record {
	return record{
		kind:  structs.TombstoneRequestType,
		table: state.Tombstones.Name(),
		write: func(s *stream, v *View) error {
			for t := range state.Tombstones.All(v.reader) {
				disguise := structs.DirEntry{Key: t.Key, RaftIndex: structs.RaftIndex{ModifyIndex: t.Index}}
				if err := s.record(structs.TombstoneRequestType, &disguise); err != nil {
					return err
				}
			}
			return nil
		},
		read: func(l *loader, value []byte) error {
			var disguise structs.DirEntry
			if err := structs.DecodeValue(value, &disguise); err != nil {
				return err
			}
			t := &structs.Tombstone{Key: disguise.Key, Index: disguise.ModifyIndex}
			state.Tombstones.Restore(l.writer, t, t.Index)
			return nil
		},
	}
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
		read: func(l *loader, value []byte) error {
			l.carried++
			row := &structs.Carried{Kind: kind, Order: l.carried, Data: append([]byte(nil), value...)}
			state.CarriedRecords.Restore(l.writer, row, 0)
			return nil
		},
	}
}

// chunking is the parts of large entries of which not all have arrived. It
// comes last and is always there.
func chunking() record {
	return record{
		kind: structs.ChunkingStateType,
		write: func(s *stream, v *View) error {
			pending := v.chunks.pending
			if pending == nil {
				pending = map[uint64][]*structs.Chunk{}
			}
			return s.record(structs.ChunkingStateType, &structs.ChunkingState{ChunkMap: pending})
		},
		read: func(l *loader, value []byte) error {
			var c structs.ChunkingState
			if err := structs.DecodeValue(value, &c); err != nil {
				return err
			}
			l.chunks.pending = c.ChunkMap
			return nil
		},
	}
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
