package state

import (
	"reflect"
	"slices"

	"praetor/structs"
)

// Checks are the checks of nodes and of services, by node and id.
var Checks = newTable("checks", func(c *structs.HealthCheck) Key {
	return catalogKey(c.PeerName, c.Node, c.CheckID)
})

var checksByService = Checks.index("service", func(c *structs.HealthCheck) Key {
	if c.ServiceName == "" {
		return nil
	}
	return catalogKey(c.PeerName, c.ServiceName)
})

var checksByStatus = Checks.index("status", func(c *structs.HealthCheck) Key {
	return catalogKey(c.PeerName, c.Status)
})

// check returns a check of ours without watching it.
func (r *Reader) check(node, id string) *structs.HealthCheck {
	return Checks.get(r.quiet(), catalogKey("", node, id))
}

// checksOn returns the checks of a node and of all its services, in order of
// id, without watching them.
func (r *Reader) checksOn(node string) []*structs.HealthCheck {
	return slices.Collect(Checks.prefix(r.quiet(), catalogKey("", node)))
}

// The index of all reads of checks is that of the whole table.

// Check returns a check, or nil.
func (r *Reader) Check(node, id string) *structs.HealthCheck {
	r.follow(localRows + Checks.name)
	return r.check(node, id)
}

// NodeChecks returns the checks of a node and of all its services, in order of id.
func (r *Reader) NodeChecks(node string) []*structs.HealthCheck {
	r.follow(localRows + Checks.name)
	return r.checksOn(node)
}

// ServiceChecks returns the checks of all instances of a service, in order of
// node and id.
func (r *Reader) ServiceChecks(service string) []*structs.HealthCheck {
	r.follow(localRows + Checks.name)
	return slices.Collect(checksByService.with(r.quiet(), catalogKey("", service)))
}

// ChecksInState returns the checks in a state, or in any, in order of node and id.
func (r *Reader) ChecksInState(state string) []*structs.HealthCheck {
	r.follow(localRows + Checks.name)
	if state == structs.HealthAny {
		return slices.Collect(Checks.prefix(r.quiet(), catalogKey("")))
	}
	return slices.Collect(checksByStatus.with(r.quiet(), catalogKey("", state)))
}

// putCheck writes a check of a node, and of a service, that are there. One that
// does not say its state is critical; sessions that depend on a critical check
// end. A write that changes nothing wakes nobody.
func (w *Writer) putCheck(given *structs.HealthCheck) error {
	n := w.node(given.Node)
	if n == nil {
		return errNoNode
	}
	if given.PeerName != "" {
		return errOtherPeer
	}
	row := *given
	row.Node = n.Node
	if row.Status == "" {
		row.Status = structs.HealthCritical
	}
	if row.ServiceID != "" {
		service := w.service(row.Node, row.ServiceID)
		if service == nil {
			return errNoService
		}
		row.ServiceName, row.ServiceTags = service.Service.Service, service.Service.Tags
	}
	tidyCheck(&row)
	row.CreateIndex, row.ModifyIndex = w.index, w.index
	before := w.check(row.Node, row.CheckID)
	if before != nil {
		row.CreateIndex = before.CreateIndex
	}
	if before == nil || !sameCheck(before, &row) {
		Checks.put(w, &row)
		w.raiseBoth(Checks.name)
		w.raiseChecked(&row)
		if before != nil && before.ServiceID != row.ServiceID {
			w.raiseChecked(before)
		}
	}
	if row.Status == structs.HealthCritical {
		w.loseCheck(row.Node, row.CheckID)
	}
	return nil
}

// raiseChecked raises the services whose health a check decides.
func (w *Writer) raiseChecked(c *structs.HealthCheck) {
	if c.ServiceID == "" {
		w.raiseServicesOf(c.Node)
	} else if row := w.service(c.Node, c.ServiceID); row != nil {
		w.raiseService(&row.Service)
	}
}

// tidyCheck gives what is empty one form.
func tidyCheck(c *structs.HealthCheck) {
	if len(c.ServiceTags) == 0 {
		c.ServiceTags = nil
	}
	c.Definition.Header = filled(c.Definition.Header)
	if len(c.Definition.ScriptArgs) == 0 {
		c.Definition.ScriptArgs = nil
	}
}

// sameCheck reports whether two checks differ in their indexes at most.
func sameCheck(a, b *structs.HealthCheck) bool {
	x, y := *a, *b
	x.RaftIndex, y.RaftIndex = structs.RaftIndex{}, structs.RaftIndex{}
	tidyCheck(&x)
	tidyCheck(&y)
	return reflect.DeepEqual(x, y)
}

// removeCheck removes a check, if it is there.
func (w *Writer) removeCheck(node, id string) {
	row := w.check(node, id)
	if row == nil {
		return
	}
	Checks.remove(w, row)
	w.raiseBoth(Checks.name)
	w.raiseChecked(row)
	w.loseCheck(row.Node, row.CheckID)
}
