// Command planted plants faults in the sources, one at a time, and shows which test finds each of them. `make planted`
// runs it from the root of the module; FAULT=name plants one.
//
// The sources stay as they are: go reads the changed files in their place (-overlay), for the tests and for the binaries
// that tests build. The instruments of the suite are tried in order of cost until one fails; before its first use each must
// pass without a fault. A fault that no longer fits the sources, or does not compile, ends the run: it would
// count as found. The test of this package, which is quick, says so on every change of the sources.
package main
