package rpcserver

import (
	"praetor/state"
	"praetor/structs"
)

// sortNear puts rows in order of distance from the node that asks, the nearest
// first; node names the node of a row, and rows must be the caller's own. As
// long as the state has no coordinates there are no distances: the order stays.
func sortNear[T any](_ *state.Reader, _ structs.QuerySource, _ []T, _ func(row T) (node string)) {}
