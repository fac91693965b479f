package rpcserver

import (
	"context"

	"praetor/state"
	"praetor/structs"
)

// once makes a method that is answered by whoever may answer a read, but never
// waits, so that it has no index. Besides a view of the state it may need the
// server.
func once[Q, R any, PQ interface {
	*Q
	request
	Options() *structs.QueryOptions
}, PR interface {
	*R
	Meta() *structs.QueryMeta
}](name string, run func(*Server, *state.Reader, *Q, *R) error) method {
	return newMethod(name, func(ctx context.Context, s *Server, q *Q, reply *R) error {
		options := *PQ(q).Options()
		options.MinQueryIndex = 0
		return s.route(ctx, call{method: name, request: PQ(q), reply: reply, read: &options, here: func(ctx context.Context) error {
			err := s.blocking(ctx, &options, PR(reply).Meta(), func(r *state.Reader) error {
				*reply = *new(R)
				return run(s, r, q, reply)
			})
			PR(reply).Meta().Index = 1
			return err
		}})
	})
}
