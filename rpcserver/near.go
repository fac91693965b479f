package rpcserver

import (
	"cmp"
	"slices"

	"praetor/state"
)

// sortByDistance puts rows in the order of the round-trip time from a node to
// theirs. Rows of which it is not known come last; those that are equally far
// stay in the order they have.
func sortByDistance[T any](r *state.Reader, from string, rows []T, node func(T) string) {
	if from == "" || len(rows) < 2 {
		return
	}
	type place struct {
		row      T
		distance float64
	}
	distance := r.Distances(from)
	places := make([]place, len(rows))
	for i, row := range rows {
		places[i] = place{row, distance(node(row))}
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.distance, b.distance) })
	for i, p := range places {
		rows[i] = p.row
	}
}
