package rpcserver_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"praetor/structs"
)

// A server that stops while writes come in answers all of them, one way or the
// other, and stops.
func TestKillUnderWrites(t *testing.T) {
	t.Parallel()
	for range 5 {
		s := startServer(t)
		var writers sync.WaitGroup
		for range 100 {
			writers.Go(func() {
				for {
					var done bool
					put := structs.KVSRequest{Op: structs.KVSet, DirEnt: structs.DirEntry{Key: "a"}}
					if s.Call(context.Background(), "KV.Apply", &put, &done) != nil {
						return
					}
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		stopped := make(chan struct{})
		go func() {
			s.Kill()
			writers.Wait()
			close(stopped)
		}()
		select {
		case <-stopped:
		case <-time.After(20 * time.Second):
			t.Fatal("writes still wait 20 s after the server was stopped")
		}
	}
}
