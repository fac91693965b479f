package rpcserver

import "time"

// Limits bound what a client may ask for. They can change while the server runs.
type Limits struct {
	HandshakeTimeout  time.Duration // for the first byte and a TLS handshake; 0 does not limit
	MaxConnsPerClient int           // connections from one IP; 0 does not limit
	KVMaxValueSize    int           // bytes
	TxnMaxReqLen      int           // bytes
	TxnMaxOps         int           // operations
	WatchHistorySize  int           // bytes of changes that feeds can go on from
	DiskReserve       int           // bytes of free disk space below which the leader refuses writes; 0 does not
}

// SetLimits puts new limits into force. Connections that are open stay open.
func (s *Server) SetLimits(limits Limits) {
	s.limits.Store(&limits)
	s.fsm.LimitHistory(limits.WatchHistorySize)
}

// handshakeDeadline is when a connection must have said what it wants.
func (s *Server) handshakeDeadline() time.Time {
	timeout := s.limits.Load().HandshakeTimeout
	if timeout <= 0 {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}
