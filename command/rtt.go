package command

import (
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"
)

func rtt(v *verb) {
	v.operands = []string{"NODE", "[NODE]"}
	v.complete = nodePredictor
	v.help = help{`
Estimates how long a packet takes from one node to the other and back, from their coordinates: nothing is sent between
them. Without a second NODE it is the one whose server is asked.`,
		[]string{`rtt web-1`, `rtt web-1 db-1`},
	}
	checkWAN := v.noWAN()
	v.run = func(operands []string) error {
		if err := checkWAN(); err != nil {
			return err
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		if len(operands) == 1 {
			own, err := client.Agent().NodeName()
			if err != nil {
				return fmt.Errorf("asking the server for its name: %w", err)
			}
			operands = append(operands, own)
		}
		found, _, err := client.Coordinate().Nodes(v.connection.read())
		if err != nil {
			return fmt.Errorf("getting coordinates: %w", err)
		}
		var ends [2]*api.CoordinateEntry
		for i, node := range operands {
			for _, c := range found {
				if strings.EqualFold(c.Node, node) {
					ends[i] = c
				}
			}
			if ends[i] == nil {
				return failf("Could not find a coordinate for node %q", node)
			}
		}
		a, b := ends[0].Coord, ends[1].Coord
		if a == nil || b == nil || !a.IsCompatibleWith(b) {
			return failf("Error! The coordinates of %q and %q cannot be compared", ends[0].Node, ends[1].Node)
		}
		_, err = fmt.Fprintf(v.stdout, "Estimated %s <-> %s rtt: %.3f ms (using LAN coordinates)\n",
			ends[0].Node, ends[1].Node, a.DistanceTo(b).Seconds()*1000)
		return err
	}
}
