package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

var catalogHelp = help{`
The catalog says which nodes and services there are.`,
	[]string{`catalog datacenters`, `catalog nodes -service=web`, `catalog services -tags`},
}

func catalogDatacenters(v *verb) {
	v.help = help{`
Lists the datacenters that the server knows.`,
		[]string{`catalog datacenters`, `catalog datacenters -format=json`},
	}
	v.formats()
	v.run = func([]string) error {
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		names, err := client.Catalog().Datacenters()
		if err != nil {
			return fmt.Errorf("listing datacenters: %w", err)
		}
		if v.json() {
			return v.printJSON(append([]string{}, names...))
		}
		for _, name := range names {
			if _, err := fmt.Fprintln(v.stdout, name); err != nil {
				return err
			}
		}
		return nil
	}
}

// nodeMetaFlag adds -node-meta, which q then has.
func (v *verb) nodeMetaFlag(q func() *api.QueryOptions) func() (*api.QueryOptions, error) {
	var meta texts
	v.flags.Var(&meta, "node-meta", "Only nodes with this `key=value` in their meta data; may be repeated.")
	return func() (*api.QueryOptions, error) {
		pairs, err := pairs("-node-meta", meta)
		options := q()
		options.NodeMeta = pairs
		return options, err
	}
}

// pairs are those of a flag that takes key=value.
func pairs(flag string, given texts) (map[string]string, error) {
	if len(given) == 0 {
		return nil, nil
	}
	pairs := map[string]string{}
	for _, text := range given {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, misusef("%s is %q: it must have the form key=value", flag, text)
		}
		pairs[key] = value
	}
	return pairs, nil
}

func catalogNodes(v *verb) {
	v.help = help{`
Lists the nodes of the catalog.`,
		[]string{`catalog nodes`, `catalog nodes -service=web -near=_agent`, `catalog nodes -node-meta=rack=7 -detailed`,
			`catalog nodes '-filter=Meta.rack != "7"'`},
	}
	detailed := v.flags.Bool("detailed", false, "Show whole ids, all addresses and the meta data.")
	near := v.flags.String("near", "", "Sort by how far they are from this `node`; _agent is the one whose server is asked.")
	service := v.flags.String("service", "", "Only nodes with this `service`.")
	filter := v.flags.String("filter", "", "Only nodes for which this `expression` is true on the server.")
	query := v.nodeMetaFlag(func() *api.QueryOptions {
		q := v.connection.read()
		q.Near, q.Filter = *near, *filter
		return q
	})
	v.formats()
	v.run = func([]string) error {
		q, err := query()
		if err != nil {
			return err
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		nodes, err := listNodes(client, *service, q)
		switch {
		case err != nil:
			return fmt.Errorf("listing nodes: %w", err)
		case v.json():
			return v.printJSON(append([]*api.Node{}, nodes...))
		case len(nodes) == 0:
			fmt.Fprintln(v.stderr, "No nodes match the given query - try expanding your search.")
			return nil
		}
		table := [][]string{{"Node", "ID", "Address", "DC"}}
		if *detailed {
			table[0] = append(table[0], "TaggedAddresses", "Meta")
		}
		for _, n := range nodes {
			row := []string{n.Node, dash(n.ID), n.Address, n.Datacenter}
			if *detailed {
				row = append(row, dash(equations(n.TaggedAddresses)), dash(equations(n.Meta)))
			} else if len(n.ID) > 8 {
				row[1] = n.ID[:8]
			}
			table = append(table, row)
		}
		return v.printTable(table)
	}
}

// listNodes lists the nodes, or those with a service, each once.
func listNodes(client *api.Client, service string, q *api.QueryOptions) ([]*api.Node, error) {
	if service == "" {
		nodes, _, err := client.Catalog().Nodes(q)
		return nodes, err
	}
	instances, _, err := client.Catalog().Service(service, "", q)
	var nodes []*api.Node
	for _, i := range instances {
		if slices.ContainsFunc(nodes, func(n *api.Node) bool { return n.Node == i.Node }) {
			continue
		}
		nodes = append(nodes, &api.Node{ID: i.ID, Node: i.Node, Address: i.Address, Datacenter: i.Datacenter,
			TaggedAddresses: i.TaggedAddresses, Meta: i.NodeMeta})
	}
	return nodes, err
}

// equations writes a map as a=1,b=2, sorted.
func equations(m map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+"="+m[key])
	}
	return strings.Join(all, ",")
}

func catalogServices(v *verb) {
	v.help = help{`
Lists the names of the services in the catalog.`,
		[]string{`catalog services`, `catalog services -tags`, `catalog services -node=web-1`, `catalog services -format=json`},
	}
	tags := v.flags.Bool("tags", false, "Show their tags too.")
	node := v.flags.String("node", "", "Only services of the node with this `name`.")
	query := v.nodeMetaFlag(func() *api.QueryOptions { return v.connection.read() })
	v.formats()
	v.run = func([]string) error {
		q, err := query()
		if err != nil {
			return err
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		services, err := listServices(client, *node, q)
		switch {
		case err != nil:
			return fmt.Errorf("listing services: %w", err)
		case v.json():
			return v.printJSON(services)
		case len(services) == 0:
			fmt.Fprintln(v.stderr, "No services match the given query - try expanding your search.")
			return nil
		}
		var table [][]string
		for _, name := range slices.Sorted(maps.Keys(services)) {
			row := []string{name}
			if *tags {
				row = append(row, strings.Join(services[name], ","))
			}
			table = append(table, row)
		}
		return v.printTable(table)
	}
}

// listServices are the services, or those of a node, with their tags in order.
func listServices(client *api.Client, node string, q *api.QueryOptions) (map[string][]string, error) {
	if node == "" {
		services, _, err := client.Catalog().Services(q)
		for name := range services {
			slices.Sort(services[name])
		}
		return services, err
	}
	found, _, err := client.Catalog().Node(node, q)
	services := map[string][]string{}
	if found != nil {
		for _, s := range found.Services {
			all := append(services[s.Service], s.Tags...)
			slices.Sort(all)
			services[s.Service] = slices.Compact(all)
		}
	}
	return services, err
}
