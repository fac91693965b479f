package rpcserver

import (
	"praetor/state"
	"praetor/structs"
)

func internalNodeInfo(r *state.Reader, q *structs.NodeSpecificRequest, reply *structs.IndexedNodeDump) error {
	if err := oursOnly(q.PeerName); err != nil {
		return err
	}
	if info := r.NodeInfo(q.Node); info != nil {
		reply.Dump = []*structs.NodeInfo{info}
	}
	return nil
}

func internalNodeDump(r *state.Reader, q *structs.DCSpecificRequest, reply *structs.IndexedNodeDump) (err error) {
	if err := oursOnly(q.PeerName); err != nil {
		return err
	}
	reply.Dump, err = filterRows(q.Filter, r.NodeInfos())
	return err
}

func internalServiceDump(r *state.Reader, q *structs.ServiceDumpRequest, reply *structs.IndexedServiceDump) (err error) {
	if err := oursOnly(q.PeerName); err != nil {
		return err
	}
	rows := r.AllCheckServiceNodes()
	if q.UseServiceKind {
		rows = keep(rows, func(row structs.CheckServiceNode) bool { return row.Service.Kind == q.ServiceKind })
	}
	reply.Nodes, err = filterRows(q.Filter, rows)
	return err
}
