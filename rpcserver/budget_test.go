package rpcserver

import (
	"testing"
	"testing/synctest"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget()
		taken := func(size int) <-chan struct{} {
			done := make(chan struct{})
			go func() { b.take(size); close(done) }()
			synctest.Wait()
			return done
		}
		over := func(done <-chan struct{}) bool {
			synctest.Wait()
			select {
			case <-done:
				return true
			default:
				return false
			}
		}
		if !over(taken(2 * maxCallBytes)) {
			t.Error("one call alone must always find room")
		}
		second := taken(1)
		if over(second) {
			t.Error("there is room beside a call that takes more than all")
		}
		b.give(2 * maxCallBytes)
		if !over(second) {
			t.Error("the second call still waits")
		}
		for range maxCalls - 1 {
			b.take(0)
		}
		next := taken(0)
		if over(next) {
			t.Errorf("there is room for more than %d calls", maxCalls)
		}
		b.give(1)
		if !over(next) {
			t.Error("the next call still waits")
		}
	})
}
