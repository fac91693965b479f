// Package testutil holds what tests of every room share: waiting, logging and
// virtual time. The clusters and networks themselves are in its subpackages.
package testutil
