package command

import (
	"fmt"

	"github.com/hashicorp/consul/api"
)

func event(v *verb) {
	v.operands = []string{"[PAYLOAD]"}
	v.help = help{`
Fires an event: a name and a payload of some hundred bytes that all members hear of by gossip, within moments and without
a promise. "praetor watch -type=event" hears them. The filters are regular expressions that the members apply.`,
		[]string{`event -name=deploy 1.4.2`, `event -name=reload -service=web -tag=canary`, `event -name=reload -node='^web-'`},
	}
	var e api.UserEvent
	v.flags.StringVar(&e.Name, "name", "", "The event's `name`.")
	v.flags.StringVar(&e.NodeFilter, "node", "", "Only nodes whose name matches this regular `expression` take notice.")
	v.flags.StringVar(&e.ServiceFilter, "service", "", "Only nodes with a service whose name matches this regular `expression` take notice.")
	v.flags.StringVar(&e.TagFilter, "tag", "", "With -service, only if the service has a tag that matches this regular `expression`.")
	v.run = func(operands []string) error {
		switch {
		case e.Name == "":
			return misusef("Missing -name: an event needs a name")
		case e.TagFilter != "" && e.ServiceFilter == "":
			return misusef("-tag means something with -service only")
		}
		if len(operands) > 0 {
			e.Payload = []byte(operands[0])
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		id, _, err := client.Event().Fire(&e, nil)
		if err != nil {
			return fmt.Errorf("firing event: %w", err)
		}
		_, err = fmt.Fprintln(v.stdout, "Event ID:", id)
		return err
	}
}
