package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil/history"
)

// Stats says what became of the calls.
type Stats struct {
	mu      sync.Mutex // guards the fields below while Run runs
	Done    int
	Unclear int
	Refused map[structs.Code]int // nothing was done
	Moves   int                  // to another server
	Wrong   []error              // what no client should be told: the first ten
}

func (s *Stats) count(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// String is one line.
func (s *Stats) String() string {
	return fmt.Sprintf("%d calls done, %d unclear, refused by code %v, %d moves to another server", s.Done, s.Unclear, s.Refused, s.Moves)
}

// run is what the clients of one workload share.
type run struct {
	Config
	rec       *history.Recorder
	stats     *Stats
	registers *slots
	groups    *slots
	locks     *slots
	services  *slots
}

// Run has the clients work until each has made its calls or ctx ends, and
// records it. The error is about the configuration, or says that something was
// answered which no client should be told.
func Run(ctx context.Context, config Config, rec *history.Recorder) (*Stats, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &run{Config: config, rec: rec, stats: &Stats{Refused: map[structs.Code]int{}},
		registers: newSlots(config.Prefix+"r/", &config), groups: newSlots(config.Prefix+"g/", &config), locks: newSlots(config.Prefix+"l/", &config),
		services: newSlots(ServiceNames(config.Prefix), &config)}
	var clients sync.WaitGroup
	finish := r.followers()
	for i := range config.Clients {
		clients.Go(func() { r.newWorker(i).work(ctx) })
	}
	clients.Wait()
	if config.Settle != nil {
		config.Settle()
	}
	finish()
	if len(r.stats.Wrong) > 0 {
		return r.stats, fmt.Errorf("workload: %d answers that no client should get, the first: %w", len(r.stats.Wrong), r.stats.Wrong[0])
	}
	return r.stats, nil
}

// worker is one client.
type worker struct {
	*run
	id     int
	rng    *rand.Rand
	at     int // place of its server
	conn   *client.Client
	writes int
	seen   map[string]uint64 // ModifyIndex of keys as last read
	index  map[string]uint64 // index of the last reply about a key
	holder holder
}

func (r *run) newWorker(id int) *worker {
	return &worker{run: r, id: id, rng: rand.New(rand.NewPCG(r.Seed, uint64(id))), at: id % len(r.Servers),
		seen: map[string]uint64{}, index: map[string]uint64{}}
}

func (w *worker) work(ctx context.Context) {
	defer w.hangUp()
	for n := 0; (w.Ops == 0 || n < w.Ops) && ctx.Err() == nil; n++ {
		pause := w.Pause/2 + time.Duration(w.rng.Int64N(int64(w.Pause)))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		w.one(ctx)
	}
}

// one does one thing.
func (w *worker) one(ctx context.Context) {
	pick := w.rng.IntN(w.Mix.Registers + w.Mix.Groups + w.Mix.Locks + w.Mix.Waits + w.Mix.Services)
	for _, choice := range []struct {
		weight int
		act    func(context.Context)
	}{{w.Mix.Registers, w.register}, {w.Mix.Groups, w.group}, {w.Mix.Locks, w.lock}, {w.Mix.Waits, w.wait}, {w.Mix.Services, w.service}} {
		if pick < choice.weight {
			choice.act(ctx)
			return
		}
		pick -= choice.weight
	}
}

// value returns a value that no other write has.
func (w *worker) value() string {
	w.writes++
	return fmt.Sprintf("c%d.%d", w.id, w.writes)
}

func (w *worker) hangUp() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// ask makes a call and records what came of it: of a slot, if it is a call that
// may stay open. The context of the call has a time-out.
func (w *worker) ask(ctx context.Context, op history.Op, in *slots, slot int, call func(context.Context, *client.Client) (history.Result, error)) (history.Result, bool) {
	server := &w.Servers[w.at]
	if w.conn == nil {
		conn, err := server.Connect()
		if err != nil {
			w.wrong(fmt.Errorf("connect to %s: %w", server.Name, err))
			return history.Result{}, false
		}
		w.conn = conn
	}
	limit := w.Timeout
	if op.After > 0 {
		limit += w.Wait + w.Wait/16
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	op.Server = server.Name
	before := server.life()
	recorded := w.rec.Begin(w.id, op)
	result, err := call(ctx, w.conn)
	if err == nil {
		if life := server.life(); life == before {
			recorded.From(life)
		}
		recorded.Done(result)
		w.stats.count(func() { w.stats.Done++ })
		return result, true
	}
	w.classify(recorded, &op, err, func() {
		if in != nil {
			in.unclear(slot)
		}
	})
	return history.Result{}, false
}

func (s *Server) life() uint64 {
	if s.Life == nil {
		return 0
	}
	return s.Life()
}

// classify records a call that did not work. Only its code says what that means.
func (w *worker) classify(call *history.Call, op *history.Op, err error, unclear func()) {
	code := structs.CodeOf(err)
	switch code {
	case structs.Unclear:
	case structs.NoLeader, structs.NotReady, structs.Busy, structs.Leaving, structs.Resubmit, structs.Unreachable, structs.DiskFull:
		call.Failed()
		w.stats.count(func() { w.stats.Refused[code]++ })
		w.move()
		return
	default:
		w.wrong(fmt.Errorf("%s at %s: code %d: %w", op, w.Servers[w.at].Name, code, err))
	}
	call.Unknown() // a read that is open says nothing
	w.stats.count(func() { w.stats.Unclear++ })
	unclear()
	w.move()
}

// move goes to another server.
func (w *worker) move() {
	w.hangUp()
	w.at = (w.at + 1) % len(w.Servers)
	w.stats.count(func() { w.stats.Moves++ })
}

func (r *run) wrong(err error) {
	r.stats.count(func() {
		if len(r.stats.Wrong) < 10 {
			r.stats.Wrong = append(r.stats.Wrong, err)
		}
	})
}
