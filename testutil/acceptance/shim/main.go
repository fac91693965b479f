// Command shim stands in for `consul` while the tests of the official Go client run: installed under that name, with
// the praetor binary beside it, it hands everything on to praetor. Of an agent it also holds the HTTP address, to answer
// one single request itself: the probe for a certificate authority of a service mesh, which Praetor has not got, and
// which that suite makes before nearly every test, whatever the test is about. All other bytes pass through as they are.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "==> acceptance shim: %v\n", err)
		os.Exit(1)
	}
}

// run does not return when all goes well: this process becomes praetor, or exits with its exit code.
func run(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	praetor := filepath.Join(filepath.Dir(self), "praetor")
	if len(args) == 0 || args[0] != "agent" {
		return syscall.Exec(praetor, append([]string{"consul"}, args...), os.Environ())
	}
	network, address, err := httpAddress(args)
	if err != nil {
		return err
	}
	code, err := front(praetor, args, network, address)
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}
