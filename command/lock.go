package command

import (
	"context"
	"fmt"

	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
)

// lockTimes are the times by which a lock is held.
type lockTimes struct {
	ttl    time.Duration // of the session
	grace  time.Duration // from asking a child to end until it is killed
	margin time.Duration // a child is dead for as long when its lease ends
	retry  time.Duration // between two attempts
}

var lockTiming = lockTimes{ttl: 15 * time.Second, grace: 5 * time.Second, margin: time.Second, retry: time.Second}

// lockSignals are those that a holder passes on to its child.
var lockSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP}

// locking is one run of "lock".
type locking struct {
	*verb
	times     lockTimes
	name      string // of the session
	limit     int    // of holders
	timeout   time.Duration
	patience  int // -monitor-retry
	verbose   bool
	childCode bool
	signals   chan os.Signal
}

func lock(v *verb) {
	v.operands = []string{"PREFIX", "COMMAND..."}
	v.runs = true
	v.complete = keyPredictor
	v.help = help{`
Takes the lock at PREFIX, runs COMMAND, and gives the lock back when COMMAND has ended. At most one COMMAND runs at a time
among all that lock the same PREFIX, or at most as many as -n says.

COMMAND is stopped before its lock can pass to somebody else. If the server does not answer, it gets SIGTERM nine seconds
after its session was last renewed for certain, and SIGKILL after fourteen: the servers keep the session for fifteen at
least. If the lock is taken away, it gets SIGTERM at once and SIGKILL five seconds later. All of its process group is
meant, so what it started ends with it. Signals are passed on to COMMAND; a second SIGINT or SIGTERM kills it.

What no program can do for itself is to stop while it is paused. For that COMMAND finds in its environment
PRAETOR_LOCK_KEY and PRAETOR_LOCK_INDEX: a write with ?fence=$PRAETOR_LOCK_KEY:$PRAETOR_LOCK_INDEX is refused once
the lock is lost. PRAETOR_LOCK_HELD and CONSUL_LOCK_HELD are "true".

The exit code is 0 when COMMAND has ended, 1 if the lock was not got, was lost, or could not be given back, and with
-child-exit-code 2 if COMMAND failed.`,
		[]string{`lock app/migrate ./migrate.sh`, `lock -timeout=10s app/report 'make report && make mail'`,
			`lock -n=3 app/crawl ./crawl.sh`, `lock -shell=false -child-exit-code app/backup pg_dump -f db.sql app`},
	}
	l := &locking{verb: v, times: lockTiming}
	v.flags.IntVar(&l.limit, "n", 1, "Let this `number` hold the lock at a time; all who use PREFIX must give the same.")
	v.flags.StringVar(&l.name, "name", "", "Give the session this `name` (default: one made of COMMAND and PREFIX).")
	v.flags.DurationVar(&l.timeout, "timeout", 0, "Give up when the lock was not got within this `duration` (default: wait for ever).")
	try := v.flags.Duration("try", 0, "The same as -timeout: what this `duration` was called once.")
	v.flags.IntVar(&l.patience, "monitor-retry", 3, "Take this `number` of failed requests in a row, a second apart, before the lock counts as lost.")
	v.flags.BoolVar(&l.childCode, "child-exit-code", false, "Exit with code 2 if COMMAND failed.")
	passStdin := v.flags.Bool("pass-stdin", false, "Let COMMAND read standard input.")
	v.flags.BoolVar(&l.verbose, "verbose", false, "Say on stderr what happens.")
	byShell := v.shellFlag()
	v.run = func(operands []string) error {
		prefix, words := strings.Trim(operands[0], "/"), operands[1:]
		switch {
		case prefix == "":
			return misusef("Missing PREFIX argument")
		case l.limit < 1:
			return misusef("-n must be at least 1")
		case *try < 0 || l.timeout < 0 || l.patience < 0:
			return misusef("-timeout, -try and -monitor-retry cannot be negative")
		case *try > 0 && l.timeout > 0:
			return misusef("-try is the old name of -timeout: give one of the two")
		case *try > 0:
			l.timeout = *try
		}
		if l.name == "" {
			l.name = fmt.Sprintf("Consul lock for '%s' at '%s'", strings.Join(words, " "), prefix)
		}
		l.signals = make(chan os.Signal, 8)
		signal.Notify(l.signals, lockSignals...)
		defer signal.Stop(l.signals)
		return l.run(prefix, func(env ...string) *exec.Cmd {
			cmd := v.program(words, *byShell, env...)
			if *passStdin {
				cmd.Stdin = v.stdin
			}
			return cmd
		})
	}
}

func (l *locking) tell(format string, args ...any) {
	if l.verbose {
		fmt.Fprintf(l.stderr, format+"\n", args...)
	}
}

// run holds the lock while the program runs.
func (l *locking) run(prefix string, program func(env ...string) *exec.Cmd) error {
	client, err := l.connection.client()
	if err != nil {
		return err
	}
	var (
		ctx, lose = context.WithCancelCause(context.Background())
		watchers  sync.WaitGroup
		lease     *lease
		c         contest
	)
	defer lose(nil)
	settle := func() error { // nobody else uses c from here on
		lose(nil)
		watchers.Wait()
		release, cancel := context.WithTimeout(context.Background(), l.times.grace)
		defer cancel()
		defer lease.end()
		return c.release(release)
	}
	err = l.patiently(ctx, func(waiting context.Context) (err error) {
		if lease, c, err = l.enter(waiting, client, prefix); err != nil {
			return fmt.Errorf("creating a session for the lock: %w", err)
		}
		watchers.Go(func() { lease.keep(ctx, lose) })
		return l.contend(waiting, c)
	})
	if err != nil {
		if c != nil {
			_ = settle() // a request that was given up may have got the lock
		}
		return err
	}
	key, index := c.fence()
	l.tell("The lock is held. Writes with ?fence=%s:%d are refused once it is lost.", key, index)
	watchers.Go(func() { lose(l.monitor(ctx, c)) })

	j, err := startJob(program("CONSUL_LOCK_HELD=true", "PRAETOR_LOCK_HELD=true",
		"PRAETOR_LOCK_KEY="+key, fmt.Sprintf("PRAETOR_LOCK_INDEX=%d", index)))
	if err != nil {
		_ = settle()
		return failf("Error! The command cannot be started: %v", err)
	}
	lost, stopped := l.attend(ctx, j, lease)
	if !stopped { // the session is left to expire: that takes longer, and has a lock delay
		return failf("Error! The lock on %s was lost (%v), and the command could not be stopped: something of it runs as another user", prefix, lost)
	}
	l.tell("The command has ended: %v.", j.ProcessState)
	released := settle()
	switch {
	case lost != nil:
		if j.end.After(lease.certain()) {
			fmt.Fprintf(l.stderr, "This process was paused for longer than its session lives: the command may have run beside the next holder's. "+
				"Writes with ?fence=%s:%d would have been refused.\n", key, index)
		}
		return failf("Error! The lock on %s was lost, and the command was stopped: %v", prefix, lost)
	case released != nil:
		return failf("Error! The command has ended, but the lock on %s could not be given back: %v", prefix, released)
	case l.childCode && j.failed():
		return exit(2)
	}
	return nil
}

// enter makes the session with which we take part.
func (l *locking) enter(ctx context.Context, client *api.Client, prefix string) (*lease, contest, error) {
	behavior := ""
	if l.limit > 1 {
		behavior = api.SessionBehaviorDelete // a contender's key goes with its session
	}
	lease, err := newLease(ctx, client, l.times, l.name, behavior)
	if err != nil {
		return nil, nil, err
	}
	l.tell("Session %s is there. Waiting for the lock on %s.", lease.session, prefix)
	if l.limit > 1 {
		return lease, &semaphore{kv: client.KV(), prefix: prefix, limit: l.limit, session: lease.session}, nil
	}
	return lease, &mutex{kv: client.KV(), key: prefix + "/.lock", session: lease.session}, nil
}

// attend waits for the job to end. When the lock is lost it stops the job, and
// says why it was lost and whether the job could be stopped.
func (l *locking) attend(ctx context.Context, j *job, lease *lease) (lost error, stopped bool) {
	asked := false
	for {
		select {
		case <-j.done:
			return nil, true
		case <-ctx.Done():
			lost := context.Cause(ctx)
			l.tell("Stopping the command: %v.", lost)
			return lost, j.stop(lease.killBy())
		case s := <-l.signals:
			ends := s == os.Interrupt || s == syscall.SIGTERM
			switch {
			case s == syscall.SIGTSTP:
				fmt.Fprintln(l.stderr, "Not paused: the lock would be lost while the command runs.")
			case ends && asked:
				l.tell("Second signal: killing the command.")
				j.signal(syscall.SIGKILL)
			default:
				asked = asked || ends
				l.tell("Passing on: %v.", s)
				j.signal(s.(syscall.Signal))
			}
		}
	}
}

// patiently does what gets the lock, for as long as -timeout allows and nobody
// interrupts it.
func (l *locking) patiently(held context.Context, get func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(held)
	defer cancel(nil)
	var timeout <-chan time.Time
	if l.timeout > 0 {
		timeout = time.After(l.timeout)
	}
	done := make(chan error)
	go func() { done <- get(ctx) }()
	for {
		select {
		case err := <-done:
			if cause := context.Cause(ctx); cause != nil {
				err = fmt.Errorf("acquiring the lock: %w", cause)
			}
			return err
		case <-timeout:
			cancel(failf("Error! The lock was not got within %v. A longer -timeout waits longer.", l.timeout))
		case s := <-l.signals:
			if s != syscall.SIGTSTP {
				cancel(failf("Error! Interrupted while waiting for the lock (%v)", s))
			}
		}
	}
}
