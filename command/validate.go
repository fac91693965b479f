package command

import (
	"fmt"

	"github.com/posener/complete"

	"praetor/agent/config"
)

func validate(v *verb) {
	v.operands = []string{"PATH..."}
	v.complete = complete.PredictFiles("*")
	v.help = help{`
Checks configuration files, and the files ending in .hcl and .json in directories, as a server would that starts with
them, and lists everything that is wrong.`,
		[]string{`validate /etc/praetor.d`, `validate -quiet server.hcl && systemctl reload praetor`},
	}
	quiet := v.flags.Bool("quiet", false, "Print nothing: the exit code tells.")
	format := v.flags.String("config-format", "", "Read all files as this `format`, hcl or json (default: by extension).")
	v.run = func(operands []string) error {
		_, warnings, err := config.LoadFiles(operands, *format)
		if *quiet {
			if err != nil {
				return exit(1)
			}
			return nil
		}
		for _, w := range warnings {
			fmt.Fprintln(v.stderr, "Warning:", w)
		}
		if err != nil {
			return failf("Config validation failed: %v", err)
		}
		_, err = fmt.Fprintln(v.stdout, "Configuration is valid!")
		return err
	}
}
