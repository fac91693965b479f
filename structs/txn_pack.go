package structs

import (
	"fmt"
	"time"

	"praetor/structs/pack"
)

// Transactions of keys are written and read without reflection, as single
// writes are in kv_pack.go. What else a transaction may hold is the codec's: it
// writes those parts, and reads the whole of a message that has one.

// appendOther appends a part of a message that the codec writes; nil is nil.
func appendOther[T any](b []byte, part *T) []byte {
	if part == nil {
		return append(b, 0xc0)
	}
	b, err := AppendValue(b, part)
	if err != nil {
		panic(fmt.Sprintf("structs: %v", err)) // a type that msgpack cannot show
	}
	return b
}

// nothing takes a nil from the front, if there is one.
func nothing(r *pack.Reader) bool {
	if len(r.Rest) == 0 || r.Rest[0] != 0xc0 {
		return false
	}
	r.Rest = r.Rest[1:]
	return true
}

// appendRows appends a slice; nil is nil.
func appendRows[T any](b []byte, rows []T, appendRow func([]byte, *T) []byte) []byte {
	if rows == nil {
		return append(b, 0xc0)
	}
	b = pack.AppendArray(b, len(rows))
	for i := range rows {
		b = appendRow(b, &rows[i])
	}
	return b
}

// readRows reads a slice, or returns false and leaves it to the codec.
func readRows[T any](r *pack.Reader, rows *[]T, readRow func(*pack.Reader, *T) bool) bool {
	n := r.Array()
	if n < 0 {
		*rows = nil
		return true
	}
	*rows = make([]T, 0, min(n, 1024))
	for i := range n {
		*rows = append(*rows, *new(T))
		if !readRow(r, &(*rows)[i]) {
			return false
		}
	}
	return true
}

func (c *TxnRequest) appendPack(b []byte) []byte {
	b = pack.AppendMap(b, 3)
	b = pack.AppendString(pack.AppendString(b, "Datacenter"), c.Datacenter)
	b = appendRows(pack.AppendString(b, "Ops"), c.Ops, appendTxnOp)
	return pack.AppendString(pack.AppendString(b, "Token"), c.Token)
}

func (c *TxnRequest) readPack(r *pack.Reader) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "Datacenter":
			c.Datacenter = r.String()
		case "Ops":
			if !readRows(r, &c.Ops, readTxnOp) {
				return false
			}
		case "Token":
			c.Token = r.String()
		default:
			return false
		}
	}
	return !r.Failed
}

func appendTxnOp(b []byte, o *TxnOp) []byte {
	b = pack.AppendMap(b, 6)
	b = appendOther(pack.AppendString(b, "Check"), o.Check)
	b = appendOther(pack.AppendString(b, "Intention"), o.Intention)
	b = pack.AppendString(b, "KV")
	if o.KV == nil {
		b = append(b, 0xc0)
	} else {
		b = o.KV.DirEnt.appendPack(pack.AppendString(pack.AppendMap(b, 2), "DirEnt"))
		b = pack.AppendString(pack.AppendString(b, "Verb"), string(o.KV.Verb))
	}
	b = appendOther(pack.AppendString(b, "Node"), o.Node)
	b = appendOther(pack.AppendString(b, "Service"), o.Service)
	return appendOther(pack.AppendString(b, "Session"), o.Session)
}

func readTxnOp(r *pack.Reader, o *TxnOp) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		name := r.Bytes()
		if nothing(r) {
			continue
		}
		if string(name) != "KV" {
			return false
		}
		o.KV = new(TxnKVOp)
		if !o.KV.readPack(r) {
			return false
		}
	}
	return !r.Failed
}

func (o *TxnKVOp) readPack(r *pack.Reader) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "DirEnt":
			if !o.DirEnt.readPack(r) {
				return false
			}
		case "Verb":
			o.Verb = kvOp(r.Bytes())
		default:
			return false
		}
	}
	return !r.Failed
}

func (t *TxnResponse) appendPack(b []byte) []byte {
	b = pack.AppendMap(b, 2)
	b = appendRows(pack.AppendString(b, "Errors"), t.Errors, appendTxnError)
	return appendRows(pack.AppendString(b, "Results"), t.Results, appendTxnResult)
}

func (t *TxnResponse) readPack(r *pack.Reader) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		if !t.readField(r, string(r.Bytes())) {
			return false
		}
	}
	return !r.Failed
}

func (t *TxnResponse) readField(r *pack.Reader, name string) bool {
	switch name {
	case "Errors":
		return readRows(r, &t.Errors, readTxnError)
	case "Results":
		return readRows(r, &t.Results, readTxnResult)
	}
	return false
}

func appendTxnError(b []byte, e *TxnError) []byte {
	b = pack.AppendMap(b, 2)
	b = pack.AppendInt(pack.AppendString(b, "OpIndex"), int64(e.OpIndex))
	return pack.AppendString(pack.AppendString(b, "What"), e.What)
}

func readTxnError(r *pack.Reader, e *TxnError) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "OpIndex":
			e.OpIndex = int(r.Int())
		case "What":
			e.What = r.String()
		default:
			return false
		}
	}
	return !r.Failed
}

func appendTxnResult(b []byte, t *TxnResult) []byte {
	b = pack.AppendMap(b, 4)
	b = appendOther(pack.AppendString(b, "Check"), t.Check)
	b = appendOther(pack.AppendString(b, "KV"), t.KV)
	b = appendOther(pack.AppendString(b, "Node"), t.Node)
	return appendOther(pack.AppendString(b, "Service"), t.Service)
}

func readTxnResult(r *pack.Reader, t *TxnResult) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		name := r.Bytes()
		if nothing(r) {
			continue
		}
		if string(name) != "KV" {
			return false
		}
		t.KV = new(DirEntry)
		if !t.KV.readPack(r) {
			return false
		}
	}
	return !r.Failed
}

func (t *TxnReadResponse) appendPack(b []byte) []byte {
	b = appendEpochMap(b, 9, t.Epoch)
	b = pack.AppendInt(pack.AppendString(b, "Backend"), int64(t.Backend))
	b = pack.AppendString(pack.AppendString(b, "ConsistencyLevel"), t.ConsistencyLevel)
	b = appendEpoch(b, t.Epoch)
	b = appendRows(pack.AppendString(b, "Errors"), t.Errors, appendTxnError)
	b = pack.AppendUint(pack.AppendString(b, "Index"), t.Index)
	b = pack.AppendBool(pack.AppendString(b, "KnownLeader"), t.KnownLeader)
	b = pack.AppendInt(pack.AppendString(b, "LastContact"), int64(t.LastContact))
	b = pack.AppendBool(pack.AppendString(b, "NotModified"), t.NotModified)
	b = appendRows(pack.AppendString(b, "Results"), t.Results, appendTxnResult)
	return pack.AppendBool(pack.AppendString(b, "ResultsFilteredByACLs"), t.ResultsFilteredByACLs)
}

func (t *TxnReadResponse) readPack(r *pack.Reader) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch name := string(r.Bytes()); name {
		case "Backend":
			t.Backend = int(r.Int())
		case "ConsistencyLevel":
			t.ConsistencyLevel = r.String()
		case "Epoch":
			t.Epoch = r.String()
		case "Index":
			t.Index = r.Uint()
		case "KnownLeader":
			t.KnownLeader = r.Bool()
		case "LastContact":
			t.LastContact = time.Duration(r.Int())
		case "NotModified":
			t.NotModified = r.Bool()
		case "ResultsFilteredByACLs":
			t.ResultsFilteredByACLs = r.Bool()
		default:
			if !t.readField(r, name) {
				return false
			}
		}
	}
	return !r.Failed
}
