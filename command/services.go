package command

import (
	"flag"
	"fmt"
	"net"
	"strconv"

	"github.com/hashicorp/consul/api"
	"github.com/posener/complete"
)

var servicesHelp = help{`
A server keeps the services that are registered with it in the catalog, until they are deregistered there. "praetor catalog
services" shows all that there are.`,
	[]string{`services register -name=web -port=8080`, `services register web.hcl`, `services deregister -id=web`},
}

func servicesRegister(v *verb) {
	v.operands = []string{"[FILE...]"}
	v.complete = complete.PredictFiles("*")
	v.help = help{`
Registers a service that is described by flags, or all those in files: "service" blocks and "services" lists as in the
configuration, in HCL or JSON. A service with the same id is replaced. All files are read before anything is registered.`,
		[]string{`services register -name=web -port=8080 -tag=v1 -meta=version=1.4.2`, `services register web.hcl db.json`,
			`services register -name=web -id=web-2 -address=10.0.0.7 -port=8080 -tagged-address=wan=198.51.100.7:80`},
	}
	var tags, meta, tagged texts
	name := v.flags.String("name", "", "The service's `name`.")
	id := v.flags.String("id", "", "Its `id` on this server (default: its name).")
	address := v.flags.String("address", "", "Its `address` (default: that of the node).")
	port := v.flags.Int("port", 0, "Its `port`.")
	socket := v.flags.String("socket", "", "The `path` of its unix socket, in place of address and port.")
	v.flags.Var(&tags, "tag", "A `tag` of it; may be repeated.")
	v.flags.Var(&meta, "meta", "A `key=value` of its meta data; may be repeated.")
	v.flags.Var(&tagged, "tagged-address", "Another address of it, as `name=host:port`; may be repeated.")
	kind := v.flags.String("kind", "", "Not supported: the kinds of Consul's `mesh`.")
	v.run = func(files []string) error {
		described := false // by flags of our own
		v.set.Visit(func(f *flag.Flag) { described = described || v.flags.Lookup(f.Name) != nil })
		switch {
		case *kind != "":
			return failf("Error! Praetor has no service mesh, and services of no kind but the ordinary one")
		case described && len(files) > 0:
			return misusef("A service is described by flags or by a FILE, not by both")
		case !described && len(files) == 0:
			return misusef("Nothing to register: give -name, or a FILE")
		case described && *name == "":
			return misusef("Missing -name: a service needs a name")
		}
		services, err := readServices(files)
		if err != nil {
			return err
		}
		if described {
			s := service{"Name": *name}
			for field, value := range map[string]string{"ID": *id, "Address": *address, "SocketPath": *socket} {
				if value != "" {
					s[field] = value
				}
			}
			if *port != 0 {
				s["Port"] = *port
			}
			if tags != nil {
				s["Tags"] = tags
			}
			if meta != nil {
				if s["Meta"], err = pairs("-meta", meta); err != nil {
					return err
				}
			}
			if tagged != nil {
				if s["TaggedAddresses"], err = taggedAddresses(tagged); err != nil {
					return err
				}
			}
			services = append(services, s)
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		for _, s := range services {
			if err := v.connection.write(client, "/v1/agent/service/register", nil, s, nil); err != nil {
				return fmt.Errorf("registering service %q: %w", s.text("name"), err)
			}
			if _, err := fmt.Fprintln(v.stdout, "Registered service:", s.text("name")); err != nil {
				return err
			}
		}
		return nil
	}
}

func taggedAddresses(given texts) (map[string]api.ServiceAddress, error) {
	all, err := pairs("-tagged-address", given)
	if err != nil {
		return nil, err
	}
	addresses := map[string]api.ServiceAddress{}
	for name, value := range all {
		host, portText, err := net.SplitHostPort(value)
		port, portErr := strconv.ParseUint(portText, 10, 16)
		if err != nil || portErr != nil {
			return nil, misusef("-tagged-address is %q: it must have the form name=host:port", name+"="+value)
		}
		addresses[name] = api.ServiceAddress{Address: host, Port: int(port)}
	}
	return addresses, nil
}

func servicesDeregister(v *verb) {
	v.operands = []string{"[FILE...]"}
	v.complete = complete.PredictFiles("*")
	v.help = help{`
Takes services out of the server that they are registered with: the one with -id, or those in files that "services
register" takes.`,
		[]string{`services deregister -id=web`, `services deregister web.hcl db.json`},
	}
	id := v.flags.String("id", "", "The service's `id`; it is its name unless it was registered with another one.")
	v.run = func(files []string) error {
		if (*id == "") == (len(files) == 0) {
			return misusef("Give the service's -id, or a FILE, one of the two")
		}
		ids := []string{*id}
		if len(files) > 0 {
			services, err := readServices(files)
			if err != nil {
				return err
			}
			ids = nil
			for _, s := range services {
				ids = append(ids, s.id())
			}
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := client.Agent().ServiceDeregister(id); err != nil {
				return fmt.Errorf("deregistering service %q: %w", id, err)
			}
			if _, err := fmt.Fprintln(v.stdout, "Deregistered service:", id); err != nil {
				return err
			}
		}
		return nil
	}
}
