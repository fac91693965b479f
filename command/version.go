package command

import (
	"fmt"
	"runtime"

	"praetor/agent"
)

// What the gossip of this version speaks, as in the tags vsn, vsn_min, vsn_max.
const protocolDefault, protocolMin, protocolMax = 2, 2, 3

func versionText() string {
	return fmt.Sprintf("Praetor v%s\nRevision %s\nBuilt with %s for %s/%s\nProtocol %d spoken by default, understands %d to %d",
		agent.Version, agent.Revision, runtime.Version(), runtime.GOOS, runtime.GOARCH, protocolDefault, protocolMin, protocolMax)
}

func showVersion(v *verb) {
	v.help = help{`
Shows the version of this binary. The server it talks to may have another: see "praetor members".`,
		[]string{`version`, `version -format=json`},
	}
	v.formats()
	v.run = func([]string) error {
		if v.json() {
			return v.printJSON(map[string]any{
				"Version": agent.Version, "Revision": agent.Revision, "Prerelease": "",
				"RPC": map[string]int{"Default": protocolDefault, "Min": protocolMin, "Max": protocolMax},
			})
		}
		_, err := fmt.Fprintln(v.stdout, versionText())
		return err
	}
}
