package agent

import "praetor/structs"

// statusLeader answers with the leader's address, "" if there is none. It never
// waits for one.
func statusLeader(c *exchange) error {
	var leader string
	if err := c.status("Status.Leader", &leader); err != nil {
		return err
	}
	return c.reply(leader)
}

// statusPeers answers with the addresses of the servers in raft's configuration.
func statusPeers(c *exchange) error {
	peers := []string{}
	if err := c.status("Status.Peers", &peers); err != nil {
		return err
	}
	return c.reply(peers)
}

func (c *exchange) status(method string, reply any) error {
	dc := c.query.datacenter()
	if dc != "" && dc != c.config.Datacenter {
		return structs.ErrNoPath
	}
	return c.call(method, &structs.DCSpecificRequest{Datacenter: dc}, reply)
}
