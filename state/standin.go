package state

import "praetor/structs"

// Until the catalog is merged, every node is there.
func (r *Reader) node(name string) *structs.Node { return &structs.Node{Node: name} }
func (r *Reader) quiet() *Reader                 { return &Reader{txn: r.txn} }
