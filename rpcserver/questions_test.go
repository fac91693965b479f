package rpcserver

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q questions
		refused := errors.New("refused")
		if err := q.ask(func() error { return refused }); err != refused {
			t.Errorf("ask: got %v, want raft's answer", err)
		}
		if err := q.askFor(time.Second, func() error { return refused }); err != refused {
			t.Errorf("askFor: got %v, want raft's answer", err)
		}

		answer := make(chan error)
		start := time.Now()
		if err := q.askFor(time.Second, func() error { return <-answer }); err != errNoAnswer || time.Since(start) != time.Second {
			t.Errorf("askFor without an answer: got %v after %v", err, time.Since(start))
		}

		// The end waits for who still waits, however long.
		go q.ask(func() error {
			time.Sleep(time.Minute)
			return nil
		})
		synctest.Wait()
		start = time.Now()
		q.end(5 * time.Second) // and for what nobody waits for any more, as long as this
		if took := time.Since(start); took != time.Minute+5*time.Second {
			t.Errorf("end took %v with a question open for a minute and one that is never answered", took)
		}
		asked := func() error {
			t.Error("asked after the end")
			return nil
		}
		if err := q.ask(asked); err != errStopping {
			t.Errorf("ask after the end: got %v", err)
		}
		if err := q.askFor(time.Second, asked); err != errStopping {
			t.Errorf("askFor after the end: got %v", err)
		}
		answer <- nil
	})
}

// What raft answers while it stops is waited for, though nobody else does.
func TestQuestionsEndWithTheLastAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q questions
		answer := make(chan error)
		q.askFor(time.Second, func() error { return <-answer })
		time.AfterFunc(2*time.Second, func() { answer <- nil })
		start := time.Now()
		q.end(time.Minute)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("end took %v, want 2s", took)
		}
	})
}
