package agent

import "praetor/structs"

func operatorUsage(c *exchange) error {
	q := structs.UsageRequest{Global: c.query.has("global")}
	q.Datacenter = c.query.datacenter()
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	var reply structs.IndexedUsage
	if err := c.read("Operator.Usage", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setCatalogMeta(&q.QueryOptions, &reply.QueryMeta)
	return c.reply(&reply)
}
