package structs

import (
	"bytes"
	"time"

	"praetor/structs/pack"
)

// The messages of the way of a key are written and read without reflection,
// which costs several times as much as all else that is done with them. A
// message with an unknown key is left to the codec.

// appendPack leaves out what is ours where it is zero, as the codec does.
func (e *DirEntry) appendPack(b []byte) []byte {
	ours := 0
	for _, set := range [...]bool{e.TTL != 0, e.TTLIndex != 0, e.LockDelay != 0, e.LockDelayIndex != 0} {
		if set {
			ours++
		}
	}
	b = pack.AppendMap(b, 7+ours)
	b = pack.AppendUint(pack.AppendString(b, "CreateIndex"), e.CreateIndex)
	b = pack.AppendUint(pack.AppendString(b, "Flags"), e.Flags)
	b = pack.AppendString(pack.AppendString(b, "Key"), e.Key)
	if e.LockDelay != 0 {
		b = pack.AppendInt(pack.AppendString(b, "LockDelay"), int64(e.LockDelay))
	}
	if e.LockDelayIndex != 0 {
		b = pack.AppendUint(pack.AppendString(b, "LockDelayIndex"), e.LockDelayIndex)
	}
	b = pack.AppendUint(pack.AppendString(b, "LockIndex"), e.LockIndex)
	b = pack.AppendUint(pack.AppendString(b, "ModifyIndex"), e.ModifyIndex)
	b = pack.AppendString(pack.AppendString(b, "Session"), e.Session)
	if e.TTL != 0 {
		b = pack.AppendInt(pack.AppendString(b, "TTL"), int64(e.TTL))
	}
	if e.TTLIndex != 0 {
		b = pack.AppendUint(pack.AppendString(b, "TTLIndex"), e.TTLIndex)
	}
	return pack.AppendBytes(pack.AppendString(b, "Value"), e.Value)
}

func (e *DirEntry) readPack(r *pack.Reader) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "CreateIndex":
			e.CreateIndex = r.Uint()
		case "Flags":
			e.Flags = r.Uint()
		case "Key":
			e.Key = r.String()
		case "LockDelay":
			e.LockDelay = time.Duration(r.Int())
		case "LockDelayIndex":
			e.LockDelayIndex = r.Uint()
		case "LockIndex":
			e.LockIndex = r.Uint()
		case "ModifyIndex":
			e.ModifyIndex = r.Uint()
		case "Session":
			e.Session = r.String()
		case "TTL":
			e.TTL = time.Duration(r.Int())
		case "TTLIndex":
			e.TTLIndex = r.Uint()
		case "Value":
			e.Value = bytes.Clone(r.Bytes())
		default:
			return false
		}
	}
	return !r.Failed
}

func (c *KVSRequest) appendPack(b []byte) []byte {
	n := 4
	if c.Fence != nil {
		n++
	}
	b = pack.AppendMap(b, n)
	b = pack.AppendString(pack.AppendString(b, "Datacenter"), c.Datacenter)
	b = c.DirEnt.appendPack(pack.AppendString(b, "DirEnt"))
	if c.Fence != nil {
		b = c.Fence.appendPack(pack.AppendString(b, "Fence"))
	}
	b = pack.AppendString(pack.AppendString(b, "Op"), string(c.Op))
	return pack.AppendString(pack.AppendString(b, "Token"), c.Token)
}

func (c *KVSRequest) readPack(r *pack.Reader) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "Datacenter":
			c.Datacenter = r.String()
		case "DirEnt":
			if !c.DirEnt.readPack(r) {
				return false
			}
		case "Fence":
			c.Fence = new(Fence)
			if !c.Fence.readPack(r) {
				return false
			}
		case "Op":
			c.Op = kvOp(r.Bytes())
		case "Token":
			c.Token = r.String()
		default:
			return false
		}
	}
	return !r.Failed
}

func (f *Fence) appendPack(b []byte) []byte {
	b = pack.AppendMap(b, 2)
	b = pack.AppendString(pack.AppendString(b, "Key"), f.Key)
	return pack.AppendUint(pack.AppendString(b, "LockIndex"), f.LockIndex)
}

func (f *Fence) readPack(r *pack.Reader) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "Key":
			f.Key = r.String()
		case "LockIndex":
			f.LockIndex = r.Uint()
		default:
			return false
		}
	}
	return !r.Failed
}

// kvOp spares the operations that there are a copy of their name.
func kvOp(name []byte) KVOp {
	switch KVOp(name) {
	case KVSet:
		return KVSet
	case KVCAS:
		return KVCAS
	case KVDelete:
		return KVDelete
	}
	return KVOp(name)
}

func (q *KeyRequest) appendPack(b []byte) []byte {
	b = pack.AppendMap(b, 14)
	b = pack.AppendBool(pack.AppendString(b, "AllowNotModifiedResponse"), q.AllowNotModifiedResponse)
	b = pack.AppendBool(pack.AppendString(b, "AllowStale"), q.AllowStale)
	b = pack.AppendString(pack.AppendString(b, "Datacenter"), q.Datacenter)
	b = pack.AppendString(pack.AppendString(b, "Filter"), q.Filter)
	b = pack.AppendString(pack.AppendString(b, "Key"), q.Key)
	b = pack.AppendInt(pack.AppendString(b, "MaxAge"), int64(q.MaxAge))
	b = pack.AppendInt(pack.AppendString(b, "MaxQueryTime"), int64(q.MaxQueryTime))
	b = pack.AppendInt(pack.AppendString(b, "MaxStaleDuration"), int64(q.MaxStaleDuration))
	b = pack.AppendUint(pack.AppendString(b, "MinQueryIndex"), q.MinQueryIndex)
	b = pack.AppendBool(pack.AppendString(b, "MustRevalidate"), q.MustRevalidate)
	b = pack.AppendBool(pack.AppendString(b, "RequireConsistent"), q.RequireConsistent)
	b = pack.AppendInt(pack.AppendString(b, "StaleIfError"), int64(q.StaleIfError))
	b = pack.AppendString(pack.AppendString(b, "Token"), q.Token)
	return pack.AppendBool(pack.AppendString(b, "UseCache"), q.UseCache)
}

func (q *KeyRequest) readPack(r *pack.Reader) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "AllowNotModifiedResponse":
			q.AllowNotModifiedResponse = r.Bool()
		case "AllowStale":
			q.AllowStale = r.Bool()
		case "Datacenter":
			q.Datacenter = r.String()
		case "Filter":
			q.Filter = r.String()
		case "Key":
			q.Key = r.String()
		case "MaxAge":
			q.MaxAge = time.Duration(r.Int())
		case "MaxQueryTime":
			q.MaxQueryTime = time.Duration(r.Int())
		case "MaxStaleDuration":
			q.MaxStaleDuration = time.Duration(r.Int())
		case "MinQueryIndex":
			q.MinQueryIndex = r.Uint()
		case "MustRevalidate":
			q.MustRevalidate = r.Bool()
		case "RequireConsistent":
			q.RequireConsistent = r.Bool()
		case "StaleIfError":
			q.StaleIfError = time.Duration(r.Int())
		case "Token":
			q.Token = r.String()
		case "UseCache":
			q.UseCache = r.Bool()
		default:
			return false
		}
	}
	return !r.Failed
}

// appendEpochMap begins the map of a reply that has n fields and, where it is
// known, an epoch.
func appendEpochMap(b []byte, n int, epoch string) []byte {
	if epoch != "" {
		n++
	}
	return pack.AppendMap(b, n)
}

func appendEpoch(b []byte, epoch string) []byte {
	if epoch == "" {
		return b
	}
	return pack.AppendString(pack.AppendString(b, "Epoch"), epoch)
}

func (d *IndexedDirEntries) appendPack(b []byte) []byte {
	b = appendEpochMap(b, 8, d.Epoch)
	b = pack.AppendInt(pack.AppendString(b, "Backend"), int64(d.Backend))
	b = pack.AppendString(pack.AppendString(b, "ConsistencyLevel"), d.ConsistencyLevel)
	b = pack.AppendString(b, "Entries")
	if d.Entries == nil {
		b = append(b, 0xc0)
	} else {
		b = pack.AppendArray(b, len(d.Entries))
	}
	for _, e := range d.Entries {
		b = e.appendPack(b)
	}
	b = appendEpoch(b, d.Epoch)
	b = pack.AppendUint(pack.AppendString(b, "Index"), d.Index)
	b = pack.AppendBool(pack.AppendString(b, "KnownLeader"), d.KnownLeader)
	b = pack.AppendInt(pack.AppendString(b, "LastContact"), int64(d.LastContact))
	b = pack.AppendBool(pack.AppendString(b, "NotModified"), d.NotModified)
	return pack.AppendBool(pack.AppendString(b, "ResultsFilteredByACLs"), d.ResultsFilteredByACLs)
}

func (d *IndexedDirEntries) readPack(r *pack.Reader) bool {
	for n := r.Map(); n > 0 && !r.Failed; n-- {
		switch string(r.Bytes()) {
		case "Backend":
			d.Backend = int(r.Int())
		case "ConsistencyLevel":
			d.ConsistencyLevel = r.String()
		case "Entries":
			rows := r.Array()
			if rows < 0 {
				d.Entries = nil
				continue
			}
			d.Entries = make([]*DirEntry, 0, min(rows, 4096))
			for ; rows > 0; rows-- {
				e := new(DirEntry)
				if !e.readPack(r) {
					return false
				}
				d.Entries = append(d.Entries, e)
			}
		case "Epoch":
			d.Epoch = r.String()
		case "Index":
			d.Index = r.Uint()
		case "KnownLeader":
			d.KnownLeader = r.Bool()
		case "LastContact":
			d.LastContact = time.Duration(r.Int())
		case "NotModified":
			d.NotModified = r.Bool()
		case "ResultsFilteredByACLs":
			d.ResultsFilteredByACLs = r.Bool()
		default:
			return false
		}
	}
	return !r.Failed
}
