package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// boltReader reads a raft.db without raft-boltdb, which does not say where the
// next entry behind a gap is.
type boltReader struct {
	db   *bbolt.DB
	tx   *bbolt.Tx
	logs *bbolt.Bucket
	conf *bbolt.Bucket
}

func readBolt(file string) (reader, error) {
	b := &boltReader{}
	var err error
	if b.db, err = bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second}); err != nil {
		return nil, err
	}
	if b.tx, err = b.db.Begin(false); err == nil {
		b.logs, b.conf = b.tx.Bucket([]byte("logs")), b.tx.Bucket([]byte("conf"))
		if b.logs == nil || b.conf == nil {
			err = errors.New("it has no log in it")
		}
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *boltReader) bounds() (first, last uint64, err error) {
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

func (b *boltReader) value(key string) ([]byte, error) { return b.conf.Get([]byte(key)), nil }

func (b *boltReader) number(value []byte) uint64 { return binary.BigEndian.Uint64(value) }

func (b *boltReader) entry(index uint64) (*raft.Log, error) {
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
	entry := new(raft.Log)
	if err := codec.NewDecoderBytes(value, &codec.MsgpackHandle{}).Decode(entry); err != nil {
		return nil, fmt.Errorf("it is no entry: %v", err)
	}
	return entry, nil
}

func (b *boltReader) close() error {
	if b.tx != nil {
		b.tx.Rollback()
	}
	if b.db != nil {
		return b.db.Close()
	}
	return nil
}
