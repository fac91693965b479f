package agent

import "strconv"

// agentMaintenance puts the node into maintenance or takes it out.
func agentMaintenance(c *exchange) error { return c.maintain("") }

func agentServiceMaintenance(c *exchange) error {
	if c.rest == "" {
		return errNoServiceID
	}
	return c.maintain(c.rest)
}

func (c *exchange) maintain(service string) error {
	text := c.query.get("enable")
	if text == "" {
		return badRequest("Missing value for enable")
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return badRequest("Invalid value for enable: %q", text)
	}
	found, err := c.local.maintain(service, on, c.query.get("reason"))
	switch {
	case err != nil:
		return localError(err)
	case !found:
		return errUnknownService(service)
	}
	return c.pushed()
}
