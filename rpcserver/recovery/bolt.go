package recovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"praetor/structs"
)

// boltLog is a raft.db as raft-boltdb writes it: a bucket "logs" with entries in
// msgpack under their index, 8 bytes big-endian, and a bucket "conf" with the
// few values that raft keeps. It is read without that library because one entry
// that is damaged must not hide those around it.
type boltLog struct {
	db   *bbolt.DB
	tx   *bbolt.Tx
	logs *bbolt.Bucket
	conf *bbolt.Bucket

	sealedFrom uint64 // entries from here on have a checksum
	reach      uint64 // what the server had come to, 0 if that is not known
}

func openBolt(file string) (*boltLog, error) {
	b := &boltLog{}
	err := guard(func() (err error) {
		if b.db, err = bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second}); err != nil {
			return err
		}
		if b.tx, err = b.db.Begin(false); err != nil {
			return err
		}
		b.logs, b.conf = b.tx.Bucket([]byte("logs")), b.tx.Bucket([]byte("conf"))
		if b.logs == nil || b.conf == nil {
			return errors.New("it has no log in it")
		}
		b.sealedFrom, b.reach, err = readRecord(b.conf.Get([]byte(recordKey)))
		return err
	})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, structs.Errorf(structs.Busy, "%s is in use: a server runs on this data directory; stop it first", file)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *boltLog) bounds() (first, last uint64, err error) {
	cursor := b.logs.Cursor()
	low, _ := cursor.First()
	high, _ := cursor.Last()
	if low == nil || high == nil {
		return 0, 0, nil
	}
	if len(low) != 8 || len(high) != 8 {
		return 0, 0, errors.New("the keys of its entries are damaged")
	}
	return binary.BigEndian.Uint64(low), binary.BigEndian.Uint64(high), nil
}

func (b *boltLog) term() (uint64, error) {
	value := b.conf.Get([]byte("CurrentTerm"))
	switch len(value) {
	case 0:
		return 0, nil
	case 8:
		return binary.BigEndian.Uint64(value), nil
	}
	return 0, errors.New("its term is damaged")
}

func (b *boltLog) reached() uint64 { return b.reach }

func (b *boltLog) entry(index uint64) (*raft.Log, error) {
	key, value := b.logs.Cursor().Seek(binary.BigEndian.AppendUint64(nil, index))
	if key == nil {
		return nil, nil
	}
	if len(key) != 8 {
		return nil, errors.New("its key is damaged")
	}
	at := binary.BigEndian.Uint64(key)
	if at > index {
		return &raft.Log{Index: at}, nil // only where it is counts: a gap is before it
	}
	if !intact(key, value, at >= b.sealedFrom) {
		return nil, errors.New("it is not what was written")
	}
	entry := new(raft.Log)
	if err := codec.NewDecoderBytes(value, &codec.MsgpackHandle{}).Decode(entry); err != nil {
		return nil, fmt.Errorf("it is no entry: %v", err)
	}
	if entry.Index != index {
		return nil, fmt.Errorf("it says that it is entry %d", entry.Index)
	}
	return entry, nil
}

func (b *boltLog) close() error {
	if b.tx != nil {
		b.tx.Rollback()
	}
	if b.db != nil {
		return b.db.Close()
	}
	return nil
}
