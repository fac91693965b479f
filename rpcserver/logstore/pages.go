package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"

	"go.etcd.io/bbolt"
)

// checkPages looks at the structure of a bbolt file before bbolt does: bbolt
// trusts what it reads, panics on some damage in a goroutine of its own, and
// follows other damage quietly. It must have the buckets of these names and no
// others. Whole values are not read: they have seals.
//
// A page starts with its id u64, flags u16, count u16 and overflow u32 (the
// number of pages behind it that belong to it). The meta pages 0 and 1 go on
// with magic u32, version u32, page size u32, flags u32, root u64 u64, freelist
// u64, number of pages u64, transaction u64, checksum u64; a branch page with
// count times position u32, key size u32, page u64; a leaf page with count times
// flags u32, position u32, key size u32, value size u32. A position counts from
// its own element.
func checkPages(file string, buckets []string) error {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the raft log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot read the raft log: %w", err)
	}
	if info.Size() == 0 {
		return nil // bbolt makes a new file of it
	}
	w := pageWalk{file: f}
	if err := w.walk(info.Size(), buckets); err != nil {
		return damaged(file, err)
	}
	return nil
}

const (
	pageHeader   = 16
	pageElement  = 16
	metaSize     = 64
	pageBranch   = 1
	pageLeaf     = 2
	pageFreelist = 16
	bucketLeaf   = 1
	noFreelist   = 1<<64 - 1
	maxBoltDepth = 32
)

var endian = binary.NativeEndian // bbolt's

type pageWalk struct {
	file     io.ReaderAt
	pageSize uint64
	pages    uint64 // number of pages in use
	seen     []bool // pages that were reached
}

type boltMeta struct{ pageSize, root, freelist, pages, txid uint64 }

func (w *pageWalk) walk(size int64, buckets []string) error {
	meta, err := w.meta()
	if err != nil {
		return err
	}
	w.pageSize, w.pages = meta.pageSize, meta.pages
	if meta.pages > uint64(size)/meta.pageSize {
		return fmt.Errorf("it is cut short: %d of %d pages are there", uint64(size)/meta.pageSize, meta.pages)
	}
	w.seen = make([]bool, w.pages)
	names := map[string]bool{}
	if err := w.tree(meta.root, 0, nil, nil, names); err != nil {
		return err
	}
	for name := range names {
		if !slices.Contains(buckets, name) {
			return fmt.Errorf("it has a bucket %q, which nobody makes", name)
		}
	}
	if len(names) != len(buckets) && meta.txid > 2 {
		return errors.New("one of its buckets is gone")
	}
	if meta.freelist != noFreelist {
		return w.freelist(meta.freelist)
	}
	return nil
}

// meta returns the newer meta page. Both must be sound: bbolt would fall back
// to the older one, and what was written last, and promised, would be gone. The
// part of the page that counts lies within one sector, so that a crash does not
// leave half of it.
func (w *pageWalk) meta() (newest boltMeta, err error) {
	first := make([]byte, pageHeader+metaSize)
	if _, err := w.file.ReadAt(first, 0); err != nil {
		return newest, errors.New("no page of it starts as it should")
	}
	size := uint64(endian.Uint32(first[pageHeader+8:]))
	if size < 512 || size > 1<<20 || size&(size-1) != 0 {
		return newest, errors.New("no page of it starts as it should")
	}
	for i := range uint64(2) {
		page := make([]byte, pageHeader+metaSize)
		if _, err := w.file.ReadAt(page, int64(i*size)); err != nil {
			return newest, fmt.Errorf("meta page %d cannot be read: %w", i, err)
		}
		b := page[pageHeader:]
		sum := fnv.New64a()
		sum.Write(b[:metaSize-8])
		if endian.Uint32(b) != 0xED0CDAED || endian.Uint32(b[4:]) != 2 || endian.Uint64(b[metaSize-8:]) != sum.Sum64() {
			return newest, fmt.Errorf("meta page %d is not what was written", i)
		}
		m := boltMeta{size, endian.Uint64(b[16:]), endian.Uint64(b[32:]), endian.Uint64(b[40:]), endian.Uint64(b[48:])}
		if i == 0 || m.txid > newest.txid {
			newest = m
		}
	}
	return newest, nil
}

// reach notes that a page is in use and returns its header and first elements.
func (w *pageWalk) reach(id uint64) (page []byte, size uint64, err error) {
	if id < 2 || id >= w.pages {
		return nil, 0, fmt.Errorf("it points to page %d of %d", id, w.pages)
	}
	page = make([]byte, w.pageSize)
	if _, err := w.file.ReadAt(page, int64(id*w.pageSize)); err != nil {
		return nil, 0, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	overflow := uint64(endian.Uint32(page[12:]))
	if endian.Uint64(page) != id || id+overflow >= w.pages {
		return nil, 0, fmt.Errorf("page %d does not start as it should", id)
	}
	for n := id; n <= id+overflow; n++ {
		if w.seen[n] {
			return nil, 0, fmt.Errorf("page %d is used twice", n)
		}
		w.seen[n] = true
	}
	return page, (overflow + 1) * w.pageSize, nil
}

// tree checks the pages of a bucket. Its keys lie from low on and before high;
// nil is no bound. The buckets at the root are put into names.
func (w *pageWalk) tree(id uint64, depth int, low, high []byte, names map[string]bool) error {
	if depth > maxBoltDepth {
		return errors.New("its pages go round in a circle")
	}
	page, size, err := w.reach(id)
	if err != nil {
		return err
	}
	at := id * w.pageSize
	flags, count := endian.Uint16(page[8:]), uint64(endian.Uint16(page[10:]))
	if pageHeader+count*pageElement > size {
		return fmt.Errorf("page %d counts more than it has room for", id)
	}
	read := func(offset, n uint64) ([]byte, error) {
		if offset+n > size {
			return nil, fmt.Errorf("page %d has something beyond its end", id)
		}
		if offset+n <= uint64(len(page)) {
			return page[offset : offset+n], nil
		}
		b := make([]byte, n)
		_, err := w.file.ReadAt(b, int64(at+offset))
		return b, err
	}
	var keys [][]byte
	var children []uint64
	for i := range count {
		offset := pageHeader + i*pageElement
		e, err := read(offset, pageElement)
		if err != nil {
			return err
		}
		var key []byte
		switch flags {
		case pageBranch:
			key, err = read(offset+uint64(endian.Uint32(e)), min(uint64(endian.Uint32(e[4:])), bbolt.MaxKeySize))
			children = append(children, endian.Uint64(e[8:]))
		case pageLeaf:
			kind, pos := endian.Uint32(e), offset+uint64(endian.Uint32(e[4:]))
			keySize, valueSize := uint64(endian.Uint32(e[8:])), uint64(endian.Uint32(e[12:]))
			if pos+keySize+valueSize > size {
				return fmt.Errorf("page %d has something beyond its end", id)
			}
			if key, err = read(pos, keySize); err != nil {
				return err
			}
			if isBucket := kind == bucketLeaf; kind > bucketLeaf || isBucket != (names != nil) {
				return fmt.Errorf("page %d has an element of another kind than it should", id)
			}
			if names == nil {
				break
			}
			names[string(key)] = true
			var value []byte
			if value, err = read(pos+keySize, valueSize); err == nil {
				err = w.bucket(value, depth)
			}
		default:
			return fmt.Errorf("page %d is of another kind than it should", id)
		}
		if err != nil {
			return err
		}
		previous := low
		if i > 0 {
			previous = keys[i-1]
		}
		// A branch names its first key as it was when the page was split off.
		if outOfOrder := i > 0 && bytes.Compare(previous, key) >= 0 || i == 0 && bytes.Compare(low, key) > 0; outOfOrder ||
			high != nil && bytes.Compare(key, high) >= 0 {
			return fmt.Errorf("page %d is not in order", id)
		}
		keys = append(keys, bytes.Clone(key))
	}
	if flags == pageBranch && count == 0 {
		return fmt.Errorf("page %d is empty", id)
	}
	for i, child := range children {
		end := high
		if i+1 < len(keys) {
			end = keys[i+1]
		}
		if err := w.tree(child, depth+1, keys[i], end, names); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket by its entry in the root: page u64, sequence u64, and,
// if it is small, its only page right there.
func (w *pageWalk) bucket(value []byte, depth int) error {
	if len(value) < 16 {
		return errors.New("a bucket is cut short")
	}
	if root := endian.Uint64(value); root != 0 {
		return w.tree(root, depth+1, nil, nil, nil)
	}
	page := value[16:]
	if len(page) < pageHeader || endian.Uint16(page[8:]) != pageLeaf {
		return errors.New("a small bucket does not start as it should")
	}
	count, size := uint64(endian.Uint16(page[10:])), uint64(len(page))
	for i := range count {
		offset := pageHeader + i*pageElement
		if offset+pageElement > size {
			return errors.New("a small bucket counts more than it has room for")
		}
		e := page[offset:]
		end := offset + uint64(endian.Uint32(e[4:])) + uint64(endian.Uint32(e[8:])) + uint64(endian.Uint32(e[12:]))
		if endian.Uint32(e) != 0 || end > size {
			return errors.New("a small bucket has something beyond its end")
		}
	}
	return nil
}

// freelist checks the list of free pages: a page that is in use would be
// overwritten.
func (w *pageWalk) freelist(id uint64) error {
	page, size, err := w.reach(id)
	if err != nil {
		return err
	}
	if endian.Uint16(page[8:]) != pageFreelist {
		return fmt.Errorf("page %d is of another kind than it should", id)
	}
	all := make([]byte, size)
	if _, err := w.file.ReadAt(all, int64(id*w.pageSize)); err != nil {
		return fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	count, list := uint64(endian.Uint16(all[10:])), all[pageHeader:]
	if count == 0xFFFF {
		count, list = endian.Uint64(list), list[8:]
	}
	if count > uint64(len(list))/8 {
		return errors.New("the list of free pages is damaged")
	}
	for i := range count {
		free := endian.Uint64(list[8*i:])
		if free < 2 || free >= w.pages || w.seen[free] {
			return fmt.Errorf("page %d is said to be free", free)
		}
		w.seen[free] = true
	}
	return nil
}
