package rpcserver

import "praetor/structs/filter"

// filterRows returns the rows that the expression of a query's Filter holds for.
func filterRows[T any](expression string, rows []T) ([]T, error) {
	return filter.Rows(expression, rows)
}

// keep removes the rows that do not pass, in place: rows must be the caller's own.
func keep[T any](rows []T, passes func(T) bool) []T {
	kept := rows[:0]
	for _, row := range rows {
		if passes(row) {
			kept = append(kept, row)
		}
	}
	return kept
}
