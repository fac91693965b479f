package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"praetor/agent/backup"
	"praetor/agent/backup/journal"
	"praetor/agent/config"
	"praetor/rpcserver"
	"praetor/structs"
)

// Version is what this program is, N.N.N.
const Version = "0.1.0"

// Revision is the commit this was built from; the linker sets it.
var Revision = "unknown"

const (
	leaveTime = 10 * time.Second // for leaving the cluster, on top of the drain time
	stopTime  = 30 * time.Second // for the server to stop
)

// Options are what an agent gets besides its configuration.
type Options struct {
	LogOutput io.Writer // for log lines, besides log file and syslog; nil: nowhere

	// Load reads the configuration again, with the warnings to log. Without it,
	// Reload is an error.
	Load func() (*config.Runtime, []string, error)

	Warnings []string // of the configuration, to be logged

	RestoreFrom string // the backup that this server starts a new cluster from

	// Announce is called when all that can be wrong with this machine has been
	// looked at, before the server starts.
	Announce func(*Agent)
}

// Agent is one running Praetor process.
type Agent struct {
	config  *config.Runtime // as it was started; see settings
	options Options
	logger  hclog.Logger // an hclog.InterceptLogger, so that lines can be watched
	server  *rpcserver.Server
	metrics *metrics
	backups *backup.Keeper // nil if there is no target
	archive atomic.Pointer[journal.Archiver]

	logs    *logOutput
	dir     *dataDir
	pidFile string
	rpcTLS  *certificates
	webTLS  *certificates
	http    *httpServer
	events  eventRing
	epoch   epochHeader
	local   *local

	live      atomic.Pointer[config.Runtime] // config with what was reloaded since
	reloading sync.Mutex

	ctx    context.Context // of background work; ends when stopping begins
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	leave    sync.Once
	left     chan struct{} // closed when the server has left the cluster, or could not
	leaveErr error         // why it could not; read it after left
	stop     sync.Once
	stopped  chan struct{}
	err      error // why we stopped; to be read once stopped is closed
}

// New starts an agent: it returns once HTTP is served and the server takes part
// in its cluster. A failed New leaves nothing running and returns nil.
func New(cfg *config.Runtime, options Options) (*Agent, error) {
	own := *cfg
	a := &Agent{config: &own, options: options, left: make(chan struct{}), stopped: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	if err := a.start(); err != nil {
		return nil, errors.Join(err, a.teardown())
	}
	return a, nil
}

// start looks for trouble with this machine first: nobody else shall hear of a
// server that cannot run.
func (a *Agent) start() error {
	var err error
	if a.logs, err = newLogOutput(a.config.Logging, a.options.LogOutput); err != nil {
		return err
	}
	a.logger = newLogger(a.config.Logging, a.logs)
	if a.config.DataDir != "" {
		if a.dir, err = openDataDir(a.config.DataDir); err != nil {
			return err
		}
	}
	if a.config.NodeID, err = a.dir.nodeID(a.config.NodeID, a.logger); err != nil {
		return err
	}
	a.live.Store(a.config)
	if err := a.writePidFile(); err != nil {
		return err
	}
	if a.rpcTLS, err = newCertificates("tls.internal_rpc", a.config.TLS.InternalRPC, a.logger); err != nil {
		return err
	}
	if a.webTLS, err = newCertificates("tls.https", a.config.TLS.HTTPS, a.logger); err != nil {
		return err
	}
	if a.metrics, err = newMetrics(a.config.Telemetry, a.logger); err != nil {
		return err
	}
	if a.http, err = a.listen(); err != nil {
		return err
	}
	if a.options.Announce != nil {
		a.options.Announce(a)
	}
	for _, w := range a.options.Warnings {
		a.logger.Warn(w)
	}
	if a.backups, err = a.newBackups(); err != nil {
		return err
	}
	restore, err := a.fetchBackup()
	if err != nil {
		return err
	}
	defer restore.close()
	server, err := a.serverConfig()
	if err != nil {
		return err
	}
	if a.server, err = rpcserver.New(server); err != nil {
		return err
	}
	if err := restore.into(a); err != nil {
		return err
	}
	a.archiveLog()
	if err := a.startLocal(); err != nil {
		return err
	}
	a.http.serve(a.handler())
	if len(a.config.RetryJoin) > 0 {
		a.tasks.Go(a.retryJoin)
	}
	return nil
}

// LogRunning says in the log that the agent runs. It is for who heeds signals, to
// call as soon as one would stop the agent in order.
func (a *Agent) LogRunning() { a.logger.Info("Praetor agent running!") }

// settings is the configuration as last reloaded. It must not be changed.
func (a *Agent) settings() *config.Runtime {
	if r := a.live.Load(); r != nil {
		return r
	}
	return a.config
}

// Server is the server inside.
func (a *Agent) Server() *rpcserver.Server { return a.server }

// NodeID is what names this server for ever.
func (a *Agent) NodeID() string { return a.config.NodeID }

// HTTPAddrs are the addresses that HTTP and HTTPS are served at, as URLs.
func (a *Agent) HTTPAddrs() []string { return a.http.urls() }

// Leave starts to leave the cluster for good, and returns. The agent stops when
// that is done: awaitLeft and Wait tell how it went.
func (a *Agent) Leave() error {
	if a.ctx.Err() != nil {
		return structs.Errorf(structs.Leaving, "this agent is stopping already")
	}
	a.leave.Do(func() {
		a.logger.Info("leaving the cluster, then stopping")
		limit := a.config.LeaveDrainTime + leaveTime
		done := make(chan error, 1)
		go func() { done <- a.server.Leave() }()
		go func() {
			select {
			case a.leaveErr = <-done:
			case <-time.After(limit):
				a.leaveErr = fmt.Errorf("leaving the cluster took longer than %v: stopping without a goodbye", limit)
			case <-a.stopped:
				a.leaveErr = structs.Errorf(structs.Leaving, "this agent was stopped before it had left")
			}
			close(a.left)
			a.end(a.leaveErr)
		}()
	})
	return nil
}

// awaitLeft waits, after Leave, until the server has left the cluster and
// returns why it could not, if so. It gives up with ctx.
func (a *Agent) awaitLeft(ctx context.Context) error {
	select {
	case <-a.left:
		return a.leaveErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown stops the agent; its server stays a member of the cluster that is
// expected back. A second call, or one on nil, is fine.
func (a *Agent) Shutdown() error {
	if a == nil {
		return nil
	}
	a.end(nil)
	return a.Wait()
}

// Done closes when the agent has stopped.
func (a *Agent) Done() <-chan struct{} { return a.stopped }

// Wait waits until the agent has stopped and returns why: nil if somebody
// asked for it and all went well.
func (a *Agent) Wait() error {
	<-a.stopped
	return a.err
}

// end stops the agent, once.
func (a *Agent) end(reason error) {
	a.stop.Do(func() {
		if reason != nil {
			a.logger.Error("stopping", "reason", reason)
		} else {
			a.logger.Info("stopping")
		}
		a.err = errors.Join(reason, a.teardown())
		close(a.stopped)
	})
}

// teardown undoes start, as far as it got. Requests under way are still
// answered while the server hands over its leadership.
func (a *Agent) teardown() error {
	var errs []error
	a.cancel()
	a.http.stopAccepting()
	a.tasks.Wait()
	a.local.close()
	if a.server != nil {
		errs = append(errs, a.stopServer())
	}
	a.http.close()
	a.metrics.close()
	if a.pidFile != "" {
		if err := os.Remove(a.pidFile); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	a.dir.close()
	if a.server != nil {
		a.logger.Info("stopped")
	}
	a.logs.close()
	return errors.Join(errs...)
}

// stopServer does not wait for ever: everything that was acknowledged is on
// disk, and a process that cannot be stopped is of no use to anyone.
func (a *Agent) stopServer() error {
	done := make(chan error, 1)
	go func() { done <- a.server.Shutdown() }()
	select {
	case err := <-done:
		return err
	case <-time.After(stopTime):
		return fmt.Errorf("the server did not stop within %v: going without it", stopTime)
	}
}

func (a *Agent) writePidFile() error {
	file := a.config.PidFile
	if file == "" {
		return nil
	}
	if err := writeFile(file, strconv.Itoa(os.Getpid())+"\n", 0o644); err != nil {
		return fmt.Errorf("cannot write the pid file (pid_file, -pid-file): %w", err)
	}
	a.pidFile = file
	return nil
}
