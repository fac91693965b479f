package logstore

// File is what the record is kept in.
type File = bookFile

// Inner is a store of one of the libraries.
type Inner = backend

// NewOver makes a record in the file for a store, as the first start of a server does.
func NewOver(inner Inner, file File, owner string) error {
	b := book{file: file}
	for range 2 {
		if err := b.write(record{kind: boltdb, owner: owner, since: 1}); err != nil {
			return err
		}
	}
	return inner.Set([]byte(keyOwner), []byte(owner))
}

// OpenOver opens a store with its record as a start does, but for the files.
func OpenOver(inner Inner, file File) (*Store, error) {
	b, _, err := openBook(file)
	if err != nil {
		return nil, err
	}
	s := &Store{path: "log", inner: inner, book: b}
	return s, s.load()
}

// BookSize is the size of a record's file.
const BookSize = bookSize
