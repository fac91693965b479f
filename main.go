// Praetor is an open coordination server that speaks Consul's protocols.
package main

import (
	"os"

	"praetor/command"
)

func main() {
	os.Exit(command.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
