package agent

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"praetor/rpcserver"
	"praetor/structs"
)

// local is what is registered with this agent: services, and checks of them and
// of the node. The agent is where they live; the catalog is told of them, and
// told again when it has forgotten (local_sync.go). What came in over HTTP is on
// disk (local_disk.go), what a configuration file says is read from there.
//
// Ids are found whatever their case, as in the catalog.
type local struct {
	self   localSelf
	call   func(ctx context.Context, method string, args, reply any) error // of the catalog
	limits func() localLimits
	logger hclog.Logger
	disk   localDisk

	mu       sync.Mutex // guards the fields below, and those of the rows
	services map[string]*localService
	checks   map[string]*localCheck
	gone     map[gone]string // id as the catalog has it, of what it must be told to forget
	changed  chan struct{}   // closed, and replaced, when a service changes
	stopped  bool

	rounds rounds
}

// localSelf is the node that everything is registered on.
type localSelf struct{ datacenter, node, nodeID, address string }

// localLimits are settings that a reload may change.
type localLimits struct {
	outputSize    int           // bytes of a check's output that are kept
	discardOutput bool          // none are
	updateEvery   time.Duration // how long a change of nothing but output may wait; 0 is not at all
}

// localService is a service of this agent.
type localService struct {
	row      *structs.NodeService // shared: replaced when it changes
	token    string
	fromFile bool // of the configuration
	sync     syncState
}

// localCheck is a check of this agent.
type localCheck struct {
	row      *structs.HealthCheck // shared: replaced when it changes
	token    string
	fromFile bool
	sync     syncState

	ttl             time.Duration // 0 for a check that nobody reports on
	expiry          *time.Timer
	deregisterAfter time.Duration // in which the check may be critical before its service goes; 0 is for ever
	criticalSince   time.Time     // zero if it is not
	outputLater     *time.Timer   // until the catalog is told of a new output; nil if it knows
}

// gone names what was deregistered here and still stands in the catalog.
type gone struct {
	service bool
	id      string // folded
}

func newLocal(self localSelf, disk localDisk, limits func() localLimits, logger hclog.Logger,
	call func(ctx context.Context, method string, args, reply any) error) *local {
	return &local{
		self: self, call: call, limits: limits, logger: logger, disk: disk,
		services: map[string]*localService{}, checks: map[string]*localCheck{}, gone: map[gone]string{},
		changed: make(chan struct{}), rounds: newRounds(),
	}
}

// close stops all timers.
func (l *local) close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for _, c := range l.checks {
		c.stopTimers()
	}
}

// service returns the service with the id, nil if there is none.
func (l *local) service(id string) *structs.NodeService {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.services[structs.FoldName(id)]; s != nil {
		return s.row
	}
	return nil
}

// allServices are the services in order of id.
func (l *local) allServices() []*structs.NodeService {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*structs.NodeService
	for _, id := range slices.Sorted(maps.Keys(l.services)) {
		all = append(all, l.services[id].row)
	}
	return all
}

// check returns the check with the id, nil if there is none.
func (l *local) check(id string) *structs.HealthCheck {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.checks[structs.FoldName(id)]; c != nil {
		return c.row
	}
	return nil
}

// allChecks are the checks in order of id.
func (l *local) allChecks() []*structs.HealthCheck {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*structs.HealthCheck
	for _, id := range slices.Sorted(maps.Keys(l.checks)) {
		all = append(all, l.checks[id].row)
	}
	return all
}

// stats are figures for people.
func (l *local) stats() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ttls := 0
	for _, c := range l.checks {
		if c.ttl > 0 {
			ttls++
		}
	}
	return map[string]string{
		"check_monitors": "0", "check_ttls": strconv.Itoa(ttls), "checks": strconv.Itoa(len(l.checks)), "services": strconv.Itoa(len(l.services)),
	}
}

// changes returns a channel that closes at the next change of a service.
func (l *local) changes() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *local) noteChange() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// addService registers a service with its checks, in place of one with the same
// id. With replace, checks that it had and has no more go; else they stay. The
// definition must have been validated. The catalog is not told yet: see push.
func (l *local) addService(d *structs.ServiceDefinition, replace, fromFile bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := structs.FoldName(d.ID)
	row := d.NodeService()
	checks := d.AllChecks()
	for _, c := range checks {
		if other := l.checks[structs.FoldName(c.CheckID)]; other != nil && structs.FoldName(other.row.ServiceID) != id {
			return structs.Errorf(structs.Invalid, "Invalid check: the id %q is that of a check of %s", c.CheckID, ofWhat(other.row))
		}
	}
	err := l.acceptable(row, checks)
	if err != nil {
		return err
	}
	if fromFile { // it is remembered there
		err = l.disk.removeService(d.ID)
	} else {
		err = l.disk.putService(row, d.Token)
	}
	if err != nil {
		return err
	}
	s := l.services[id]
	if s == nil {
		s = &localService{}
		l.services[id] = s
	}
	before := s.row
	s.token, s.fromFile = d.Token, fromFile
	delete(l.gone, gone{true, id})
	if before == nil || !sameService(before, row) {
		s.row, s.sync = row, dirty
		l.noteChange()
	}
	keep := map[string]bool{}
	for _, c := range checks {
		keep[structs.FoldName(c.CheckID)] = true
		if err := l.putCheck(c, fromFile); err != nil {
			return err
		}
	}
	for key, c := range l.checks {
		switch {
		case structs.FoldName(c.row.ServiceID) != id || keep[key]:
		case replace && c.row.Type != structs.CheckMaintenance:
			if err := l.dropCheck(key); err != nil {
				return err
			}
		default: // it is of the service as that is now
			renamed := *c.row
			renamed.ServiceName, renamed.ServiceTags = row.Service, row.Tags
			c.replace(&renamed)
		}
	}
	return nil
}

// configure takes in what the configuration says, in place of what it said
// before. It wins over what was registered over HTTP under the same id. What
// cannot be had is logged: a reload does not go half way.
func (l *local) configure(services []*structs.ServiceDefinition, checks []*structs.CheckDefinition) {
	failed := func(what, id string, err error) {
		if err != nil {
			l.logger.Error("cannot take a definition from the configuration", what, id, "error", err)
		}
	}
	wantServices, wantChecks := map[string]bool{}, map[string]bool{}
	for _, d := range services {
		wantServices[structs.FoldName(d.ID)] = true
		failed("service", d.ID, l.addService(d, false, true))
		for _, c := range d.AllChecks() {
			wantChecks[structs.FoldName(c.CheckID)] = true
		}
	}
	for _, d := range checks {
		wantChecks[structs.FoldName(d.CheckID)] = true
		failed("check", d.CheckID, l.addCheck(d, true))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, s := range l.services {
		if s.fromFile && !wantServices[id] {
			_, err := l.dropService(id)
			failed("service", id, err)
		}
	}
	for id, c := range l.checks {
		if c.fromFile && !wantChecks[id] {
			failed("check", id, l.dropCheck(id))
		}
	}
	l.rounds.wake()
}

// acceptable reports why the catalog would never take a service or checks: then
// they are not taken here either.
func (l *local) acceptable(service *structs.NodeService, checks []*structs.CheckDefinition) error {
	q := l.registration(&errand{row: service})
	for _, d := range checks {
		q.Checks = append(q.Checks, d.HealthCheck(l.self.node))
	}
	return rpcserver.CheckRegistration(q)
}

// ofWhat is what a check is about, for a message.
func ofWhat(c *structs.HealthCheck) string {
	if c.ServiceID == "" {
		return "the node"
	}
	return "service " + c.ServiceID
}

// removeService deregisters a service with its checks, and reports whether it
// was there.
func (l *local) removeService(id string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropService(structs.FoldName(id))
}

func (l *local) dropService(id string) (bool, error) {
	s := l.services[id]
	if s == nil {
		return false, nil
	}
	for key, c := range l.checks {
		if structs.FoldName(c.row.ServiceID) == id {
			if err := l.dropCheck(key); err != nil {
				return true, err
			}
		}
	}
	if err := l.disk.removeService(s.row.ID); err != nil {
		return true, err
	}
	delete(l.services, id)
	l.gone[gone{true, id}] = s.row.ID
	l.noteChange()
	return true, nil
}

// startLocal takes in what the data directory remembers, and keeps the catalog
// in agreement with it from now on. The server must run.
func (a *Agent) startLocal() error {
	server := a.server.Config()
	host, _, err := net.SplitHostPort(a.server.Addr())
	if err != nil {
		return err
	}
	self := localSelf{datacenter: server.Datacenter, node: server.NodeName, nodeID: server.NodeID, address: host}
	a.local = newLocal(self, localDisk(server.DataDir), a.localLimits, a.logger.Named("local"), a.server.Call)
	if err := a.local.load(); err != nil {
		return err
	}
	a.local.configure(a.config.Services, a.config.NodeChecks)
	a.tasks.Go(func() { a.local.run(a.ctx) })
	return nil
}

func (a *Agent) localLimits() localLimits {
	c := a.settings().Checks
	return localLimits{outputSize: c.OutputMaxSize, discardOutput: c.DiscardOutput, updateEvery: c.UpdateInterval}
}
