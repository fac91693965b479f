package rpcserver

import (
	"context"
	"errors"
)

// Methods that only tests have: one that panics, and one whose reply cannot be
// encoded.
func init() {
	panics := func(context.Context, *Server, *struct{}, *struct{}) error { panic("as the test wants") }
	silent := func(context.Context, *Server, *struct{}, *struct{}) error { return errors.New("") }
	odd := func(_ context.Context, _ *Server, _ *struct{}, reply *struct{ C any }) error {
		reply.C = unspeakable{}
		return nil
	}
	for _, m := range []method{
		newMethod("Test.Panic", panics), newMethod("Test.Silent", silent), newMethod("Test.Odd", odd),
	} {
		byName[m.name] = &m
	}
}

type unspeakable struct{}

func (unspeakable) MarshalBinary() ([]byte, error) { return nil, errors.New("not a word") }
func (unspeakable) UnmarshalBinary(_ []byte) error { return nil }
