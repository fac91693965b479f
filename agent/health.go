package agent

import (
	"strconv"

	"praetor/structs"
)

func healthNode(c *exchange) error {
	var q structs.NodeSpecificRequest
	if err := c.nodeRequest(&q); err != nil {
		return err
	}
	return c.checks("Health.NodeChecks", &q.QueryOptions, &q)
}

func healthChecks(c *exchange) error {
	var q structs.ServiceSpecificRequest
	if err := c.serviceRequest(&q); err != nil {
		return err
	}
	q.ServiceTags, q.TagFilter = nil, false
	return c.checks("Health.ServiceChecks", &q.QueryOptions, &q)
}

func healthState(c *exchange) error {
	q := structs.ChecksInStateRequest{
		Datacenter: c.query.datacenter(), State: c.rest, NodeMetaFilters: c.nodeMeta(), Source: c.source(), PeerName: c.query.get("peer"),
	}
	q.Filter = c.query.get("filter")
	if q.State == "" {
		return badRequest("Missing check state")
	}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	return c.checks("Health.ChecksInState", &q.QueryOptions, &q)
}

// checks answers with what a method says of checks.
func (c *exchange) checks(method string, q *structs.QueryOptions, args any) error {
	var reply structs.IndexedHealthChecks
	if err := c.read(method, q, args, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setCatalogMeta(q, &reply.QueryMeta)
	return c.reply(jsonChecks(reply.HealthChecks))
}

// healthService answers with the instances of a service and all that decides on
// their health. With ?passing, only with those whose checks all pass.
func healthService(c *exchange) error {
	var q structs.ServiceSpecificRequest
	if err := c.serviceRequest(&q); err != nil {
		return err
	}
	if c.query.has("passing") {
		passing := true
		if value := c.query.get("passing"); value != "" {
			var err error
			if passing, err = strconv.ParseBool(value); err != nil {
				return badRequest("Invalid value for ?passing")
			}
		}
		if passing {
			q.HealthFilterType = 2
		}
	}
	var reply structs.IndexedCheckServiceNodes
	if err := readCached(c, "Health.ServiceNodes", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setCatalogMeta(&q.QueryOptions, &reply.QueryMeta)
	return c.reply(jsonCheckServiceNodes(reply.Nodes))
}
