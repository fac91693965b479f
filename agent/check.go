package agent

import (
	"strings"

	"praetor/structs"
	"praetor/structs/filter"
)

func agentChecks(c *exchange) error {
	all, err := filter.Rows(c.query.get("filter"), c.local.allChecks())
	if err != nil {
		return err
	}
	byID := map[string]*structs.HealthCheck{}
	for _, row := range all {
		byID[row.CheckID] = row
	}
	return c.reply(byID)
}

func agentCheckRegister(c *exchange) error {
	var d structs.CheckDefinition
	if err := c.decode(maxRegistration, &d); err != nil {
		return err
	}
	if err := d.Validate(); err != nil {
		return localError(err)
	}
	if err := c.local.addCheck(&d, false); err != nil {
		return localError(err)
	}
	return c.pushed()
}

func errUnknownCheck(id string) error {
	return structs.Errorf(structs.NotFound, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)
}

var errNoCheckID = badRequest("Missing check ID")

func agentCheckDeregister(c *exchange) error {
	if c.rest == "" {
		return errNoCheckID
	}
	found, err := c.local.removeCheck(c.rest)
	switch {
	case err != nil:
		return err
	case !found:
		return localError(errUnknownCheck(c.rest))
	}
	return c.pushed()
}

// agentCheckReport makes the endpoint that reports one status, with ?note as
// the output.
func agentCheckReport(status string) func(*exchange) error {
	return func(c *exchange) error { return c.report(status, c.query.get("note")) }
}

func agentCheckUpdate(c *exchange) error {
	var update struct{ Status, Output string }
	if err := c.decode(maxRegistration, &update); err != nil {
		return err
	}
	if !structs.ValidStatus(update.Status) {
		return badRequest("Invalid check status: '%s'", update.Status)
	}
	return c.report(update.Status, update.Output)
}

// report takes a report on a check: the catalog is told at once of a change of
// its status, but not of a heartbeat that changes nothing.
func (c *exchange) report(status, output string) error {
	if c.rest == "" {
		return errNoCheckID
	}
	push, err := c.local.updateCheck(c.rest, status, strings.ToValidUTF8(output, "\uFFFD"))
	if err != nil {
		return localError(err)
	}
	if push {
		return c.pushed()
	}
	return c.done()
}
