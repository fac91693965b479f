package command

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"
)

func keyring(v *verb) {
	v.help = help{`
Shows and changes the keys that gossip is encrypted with, on all members at once. To rotate: make a key with
"praetor keygen", -install it, -use it, and -remove the old one when -list shows the new one everywhere.`,
		[]string{`keyring -list`, `keyring -install=qxycTi/SsePj/TZzCBmNXw==`, `keyring -use=qxycTi/SsePj/TZzCBmNXw==`,
			`keyring -remove=d8wu8CSUrqgtjVsvcBPmhQ==`},
	}
	list := v.flags.Bool("list", false, "List all keys, and on how many members each is.")
	primary := v.flags.Bool("list-primary", false, "List the keys that members encrypt with.")
	install := v.flags.String("install", "", "Give all members this `key` to read with.")
	use := v.flags.String("use", "", "Make all members encrypt with this `key`, which they must have.")
	remove := v.flags.String("remove", "", "Take this `key`, which must not be in use, from all members.")
	relay := v.flags.Int("relay-factor", 0, "Have each answer relayed by this `number` of other members too, 0 to 5.")
	localOnly := v.flags.Bool("local-only", false, "List the keys of the datacenter's own pool alone.")
	v.run = func([]string) error {
		asked := 0
		for _, is := range []bool{*list, *primary, *install != "", *use != "", *remove != ""} {
			if is {
				asked++
			}
		}
		switch {
		case asked != 1:
			return misusef("Say what to do by one of -list, -list-primary, -install, -use and -remove")
		case *relay < 0 || *relay > 5:
			return misusef("-relay-factor must be 0 to 5, not %d", *relay)
		case *localOnly && !*list && !*primary:
			return misusef("-local-only goes with -list and -list-primary")
		}
		client, err := v.connection.client()
		if err != nil {
			return err
		}
		operator, q := client.Operator(), &api.WriteOptions{RelayFactor: uint8(*relay)}
		switch {
		case *install != "":
			fmt.Fprintln(v.stdout, "==> Installing a new gossip encryption key...")
			err = operator.KeyringInstall(*install, q)
		case *use != "":
			fmt.Fprintln(v.stdout, "==> Changing the gossip encryption key in use...")
			err = operator.KeyringUse(*use, q)
		case *remove != "":
			fmt.Fprintln(v.stdout, "==> Removing a gossip encryption key...")
			err = operator.KeyringRemove(*remove, q)
		default:
			fmt.Fprintln(v.stdout, "==> Gathering installed encryption keys...")
			return v.keys(operator, &api.QueryOptions{RelayFactor: uint8(*relay), LocalOnly: *localOnly}, *primary)
		}
		if err != nil {
			return fmt.Errorf("changing gossip keys: %w", err)
		}
		return nil
	}
}

func (v *verb) keys(operator *api.Operator, q *api.QueryOptions, primary bool) error {
	pools, err := operator.KeyringList(q)
	if err != nil {
		return fmt.Errorf("listing gossip keys: %w", err)
	}
	for _, pool := range pools {
		name := pool.Datacenter + " (LAN)"
		if pool.WAN {
			name = "WAN"
		}
		fmt.Fprintf(v.stdout, "\n%s:\n", name)
		keys := pool.Keys
		if primary {
			keys = pool.PrimaryKeys
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			fmt.Fprintf(v.stdout, "  %s [%d/%d]\n", key, keys[key], pool.NumNodes)
		}
		for _, node := range slices.Sorted(maps.Keys(pool.Messages)) {
			fmt.Fprintf(v.stdout, "  %s: %s\n", node, pool.Messages[node])
		}
	}
	return nil
}
