package fsm

import (
	"bufio"
	"io"

	"praetor/structs"
)

// WithoutEnterprise copies a snapshot stream from r to w, but for the records of
// Consul Enterprise, which it counts. Damage is an error with code Corrupt.
func WithoutEnterprise(w io.Writer, r io.Reader) (structs.Dropped, error) {
	header, sequence := Records(r)
	s := &stream{w: bufio.NewWriterSize(w, 256<<10)}
	dropped := structs.Dropped{}
	if err := s.value(&header); err != nil {
		return nil, err
	}
	for rec, err := range sequence {
		if err != nil {
			return nil, err
		}
		if rec.Kind.Enterprise() {
			dropped[rec.Kind]++
			continue
		}
		if err := s.raw(rec.Kind, rec.Value); err != nil {
			return nil, err
		}
	}
	return dropped, s.w.Flush()
}

// LoadWithoutEnterprise is Load that drops the records of Consul Enterprise and
// counts them.
func LoadWithoutEnterprise(r io.Reader) (*Loaded, structs.Dropped, error) {
	dropped := structs.Dropped{}
	loaded, err := load(r, func(kind structs.MessageType) { dropped[kind]++ })
	return loaded, dropped, err
}

// ErrEnterprise says that a snapshot is refused for a record of this type.
func ErrEnterprise(kind structs.MessageType) error {
	return structs.Errorf(structs.Unsupported,
		"the snapshot holds a record of type %d, which is Consul Enterprise's: Praetor cannot restore it, unless told to skip such records (-skip-enterprise)", kind)
}
