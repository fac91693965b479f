package agent

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
)

// expiredOutput is what the output of a check says whose time is up.
const expiredOutput = "TTL expired"

// The checks that maintenance is made of.
const (
	nodeMaintenance    = "_node_maintenance"
	serviceMaintenance = "_service_maintenance:" // and the id of the service
)

// addCheck registers a check, in place of one with the same id. The definition
// must have been validated.
func (l *local) addCheck(d *structs.CheckDefinition, fromFile bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.ServiceID != "" && l.services[structs.FoldName(d.ServiceID)] == nil {
		return structs.Errorf(structs.NotFound, "ServiceID %q does not exist", d.ServiceID)
	}
	if err := l.acceptable(nil, []*structs.CheckDefinition{d}); err != nil {
		return err
	}
	return l.putCheck(d, fromFile)
}

// putCheck is addCheck under the lock. A check that is registered again keeps
// the status it has, if that is still of worth.
func (l *local) putCheck(d *structs.CheckDefinition, fromFile bool) error {
	key := structs.FoldName(d.CheckID)
	row := d.HealthCheck(l.self.node)
	if before := l.checks[key]; before != nil && before.ttl > 0 {
		row.Status, row.Output = before.row.Status, before.row.Output
	} else if state := l.disk.checkState(d.CheckID); state != nil { // from before a restart
		row.Status, row.Output = state.Status, state.Output
	}
	after := time.Duration(d.DeregisterCriticalServiceAfter)
	if after > 0 && after < structs.MinDeregisterAfter {
		l.logger.Warn("deregister_critical_service_after is raised to its minimum", "check", d.CheckID, "minimum", structs.MinDeregisterAfter)
		after = structs.MinDeregisterAfter
	}
	kept := storedCheck{Check: row, Token: d.Token}
	kept.ChkType.TTL, kept.ChkType.DeregisterCriticalServiceAfter = d.TTL, structs.Duration(after)
	var err error
	if fromFile { // it is remembered there
		err = l.disk.removeCheck(d.CheckID)
	} else {
		err = l.disk.putCheck(&kept)
	}
	if err != nil {
		return err
	}
	l.startCheck(&kept, fromFile)
	return nil
}

// startCheck takes a check in and starts its clock.
func (l *local) startCheck(kept *storedCheck, fromFile bool) {
	key := structs.FoldName(kept.Check.CheckID)
	c := l.checks[key]
	if c == nil {
		c = &localCheck{}
		l.checks[key] = c
	}
	delete(l.gone, gone{false, key})
	row := *kept.Check
	row.Node, row.ServiceName, row.ServiceTags = l.self.node, "", []string{}
	if s := l.services[structs.FoldName(row.ServiceID)]; s != nil {
		row.ServiceID, row.ServiceName, row.ServiceTags = s.row.ID, s.row.Service, s.row.Tags
	}
	c.token, c.fromFile = kept.Token, fromFile
	c.ttl, c.deregisterAfter = time.Duration(kept.ChkType.TTL), time.Duration(kept.ChkType.DeregisterCriticalServiceAfter)
	c.replace(&row)
	l.restartTTL(c)
}

// replace puts a new row in place of the old one, if it says anything new.
func (c *localCheck) replace(row *structs.HealthCheck) {
	switch {
	case row.Status != structs.HealthCritical:
		c.criticalSince = time.Time{}
	case c.criticalSince.IsZero():
		c.criticalSince = time.Now()
	}
	if c.row != nil && sameCheck(c.row, row, false) {
		return
	}
	c.row, c.sync = row, dirty
}

func (c *localCheck) stopTimers() {
	if c.expiry != nil {
		c.expiry.Stop()
	}
	if c.outputLater != nil {
		c.outputLater.Stop()
	}
}

// restartTTL gives the check its whole time again.
func (l *local) restartTTL(c *localCheck) {
	if c.expiry != nil {
		c.expiry.Stop()
		c.expiry = nil
	}
	if c.ttl <= 0 || l.stopped {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(c.ttl, func() { l.expire(c, &timer) })
	c.expiry = timer
}

// expire turns the check critical, unless its timer was replaced meanwhile.
func (l *local) expire(c *localCheck, timer **time.Timer) {
	l.mu.Lock()
	if c.expiry != *timer || c.expiry == nil || l.stopped {
		l.mu.Unlock()
		return
	}
	c.expiry = nil
	row := *c.row
	row.Status, row.Output = structs.HealthCritical, expiredOutput
	if last := c.row.Output; last != "" {
		row.Output += ", last output: " + last
	}
	c.replace(&row)
	if err := l.disk.removeCheckState(row.CheckID); err != nil {
		l.logger.Error("cannot remove the state of a check from the data directory", "check", row.CheckID, "error", err)
	}
	l.mu.Unlock()
	l.logger.Warn("check missed its TTL, it is critical", "check", row.CheckID, "ttl", c.ttl)
	l.rounds.wake()
}

// errNoTTL says that nobody reports the status of a check.
func errNoTTL(id string) error {
	return structs.Errorf(structs.Conflict, "CheckID %q does not have associated TTL", id)
}

// updateCheck sets what a check's owner says of it and starts its time anew. It
// reports whether the catalog is to be told at once.
func (l *local) updateCheck(id, status, output string) (push bool, err error) {
	limits := l.limits()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.checks[structs.FoldName(id)]
	switch {
	case c == nil:
		return false, structs.Errorf(structs.NotFound, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)
	case c.ttl <= 0:
		return false, errNoTTL(id)
	}
	switch total := len(output); {
	case limits.discardOutput:
		output = ""
	case total > limits.outputSize:
		kept := strings.ToValidUTF8(output[:limits.outputSize], "")
		output = fmt.Sprintf("%s ... (captured %d of %d bytes)", kept, len(kept), total)
	}
	l.restartTTL(c)
	state := storedState{CheckID: c.row.CheckID, Status: status, Output: output, Expires: time.Now().Add(c.ttl).Unix()}
	if err := l.disk.putCheckState(&state); err != nil {
		return false, err
	}
	row := *c.row
	row.Status, row.Output = status, output
	outputOnly := row.Status == c.row.Status
	before := c.sync
	c.replace(&row)
	if c.sync != dirty || before == dirty || !outputOnly || limits.updateEvery == 0 {
		return c.sync == dirty, nil
	}
	c.sync = before
	if c.outputLater == nil && !l.stopped {
		c.outputLater = time.AfterFunc(limits.updateEvery, func() {
			l.mu.Lock()
			c.outputLater, c.sync = nil, dirty
			l.mu.Unlock()
			l.rounds.wake()
		})
	}
	return false, nil
}

// removeCheck deregisters a check, and reports whether it was there.
func (l *local) removeCheck(id string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := structs.FoldName(id)
	if l.checks[key] == nil {
		return false, nil
	}
	return true, l.dropCheck(key)
}

func (l *local) dropCheck(key string) error {
	c := l.checks[key]
	if err := errors.Join(l.disk.removeCheck(c.row.CheckID), l.disk.removeCheckState(c.row.CheckID)); err != nil {
		return err
	}
	c.stopTimers()
	c.expiry = nil // a timer that has just fired finds itself replaced
	delete(l.checks, key)
	l.gone[gone{false, key}] = c.row.CheckID
	return nil
}

// maintain puts a service, or with "" the node, into maintenance or takes it
// out. It reports whether that service is there.
func (l *local) maintain(service string, on bool, reason string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	row := structs.HealthCheck{
		CheckID: nodeMaintenance, Name: "Node Maintenance Mode", Status: structs.HealthCritical, Type: structs.CheckMaintenance,
		Notes: cmp.Or(reason, "The node is in maintenance; nobody gave a reason."),
	}
	if service != "" {
		s := l.services[structs.FoldName(service)]
		if s == nil {
			return false, nil
		}
		row.CheckID, row.ServiceID, row.Name = serviceMaintenance+s.row.ID, s.row.ID, "Service Maintenance Mode"
		row.Notes = cmp.Or(reason, "The service is in maintenance; nobody gave a reason.")
	}
	key := structs.FoldName(row.CheckID)
	if !on {
		if l.checks[key] == nil {
			return true, nil
		}
		l.logger.Info("out of maintenance", "what", ofWhat(&row))
		return true, l.dropCheck(key)
	}
	q := l.registration(&errand{rows: []*structs.HealthCheck{&row}})
	if err := rpcserver.CheckRegistration(q); err != nil {
		return true, err
	}
	kept := &storedCheck{Check: &row}
	if err := l.disk.putCheck(kept); err != nil {
		return true, err
	}
	l.logger.Info("in maintenance", "what", ofWhat(&row), "reason", row.Notes)
	l.startCheck(kept, false)
	return true, nil
}

// reap deregisters the services that were critical for too long.
func (l *local) reap() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.checks {
		id := structs.FoldName(c.row.ServiceID)
		if c.deregisterAfter == 0 || id == "" || c.criticalSince.IsZero() || time.Since(c.criticalSince) < c.deregisterAfter {
			continue
		}
		l.logger.Warn("deregistering a service that was critical for too long", "service", c.row.ServiceID, "check", c.row.CheckID,
			"critical", time.Since(c.criticalSince).Round(time.Second))
		if _, err := l.dropService(id); err != nil {
			l.logger.Error("cannot deregister a service", "service", c.row.ServiceID, "error", err)
		}
	}
}
