package rpcserver

import (
	"cmp"
	"slices"

	"praetor/state"
	"praetor/structs"
)

// sortNear puts rows in order of the round-trip time from the node that asks to
// theirs, the nearest first; node names the node of a row, and rows must be the
// caller's own. Rows of which it is not known come last; those that are equally
// far stay in the order they have.
func sortNear[T any](r *state.Reader, from structs.QuerySource, rows []T, node func(row T) (name string)) {
	if from.Node == "" || len(rows) < 2 {
		return
	}
	type place struct {
		row      T
		distance float64
	}
	distance := r.Distances(from.Node)
	places := make([]place, len(rows))
	for i, row := range rows {
		places[i] = place{row, distance(node(row))}
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.distance, b.distance) })
	for i, p := range places {
		rows[i] = p.row
	}
}
