package state

import (
	"iter"

	"praetor/structs"
)

// Metadata are named values that the servers keep for themselves. As in Consul
// the table has no index row.
var Metadata = newTable("system-metadata", func(e *structs.MetadataEntry) Key { return key(e.Key) })

// CarriedRecords are records of a Consul snapshot that we do not serve, kept to
// be written back.
var CarriedRecords = newTable("carried", func(c *structs.Carried) Key {
	return append(Key{byte(c.Kind)}, numberKey(c.Order)...)
})

// MetadataValue returns the value of a system metadata entry, "" if there is none.
func (r *Reader) MetadataValue(name string) string {
	if e := Metadata.get(r, key(name)); e != nil {
		r.saw(e.ModifyIndex)
		return e.Value
	}
	return ""
}

// MetadataEntry returns a system metadata entry, nil if there is none.
func (r *Reader) MetadataEntry(name string) *structs.MetadataEntry {
	return Metadata.get(r, key(name))
}

// ApplyMetadata changes one system metadata entry.
func (w *Writer) ApplyMetadata(c *structs.MetadataRequest) (struct{}, error) {
	if c.Entry == nil || c.Entry.Key == "" {
		return struct{}{}, structs.Errorf(structs.Invalid, "system metadata needs a key")
	}
	before := Metadata.get(&w.Reader, key(c.Entry.Key))
	switch c.Op {
	case structs.MetadataUpsert:
		row := *c.Entry
		row.CreateIndex, row.ModifyIndex = w.index, w.index
		if before != nil {
			row.CreateIndex = before.CreateIndex
		}
		Metadata.put(w, &row)
	case structs.MetadataDelete:
		if before == nil {
			return struct{}{}, nil
		}
		Metadata.remove(w, before)
	default:
		return struct{}{}, structs.Errorf(structs.Invalid, "Invalid system metadata operation '%s'", c.Op)
	}
	return struct{}{}, nil
}

// CarriedOf yields the carried records of one type in the order they came.
func CarriedOf(r *Reader, kind structs.MessageType) iter.Seq[*structs.Carried] {
	return CarriedRecords.prefix(r, Key{byte(kind)})
}

// CarriedKinds returns the types of which there are carried records, in order.
func CarriedKinds(r *Reader) []structs.MessageType {
	var kinds []structs.MessageType
	for row := range CarriedRecords.All(r) {
		if len(kinds) == 0 || kinds[len(kinds)-1] != row.Kind {
			kinds = append(kinds, row.Kind)
		}
	}
	return kinds
}
