package state

import (
	"math"
	"reflect"
	"slices"

	"praetor/structs"
)

// Coordinates say where nodes stand, once for each segment of the network.
var Coordinates = newTable("coordinates", func(c *structs.Coordinate) Key {
	return key(structs.FoldName(c.Node), c.Segment)
})

// Coordinates returns all coordinates in order of node and segment. Its index
// is that of the table.
func (r *Reader) Coordinates() []*structs.Coordinate {
	r.saw(r.tableIndex(Coordinates.name))
	return slices.Collect(Coordinates.All(r))
}

// NodeCoordinates returns those of one node, in order of segment. Its index is
// that of the table.
func (r *Reader) NodeCoordinates(node string) []*structs.Coordinate {
	r.saw(r.tableIndex(Coordinates.name))
	return slices.Collect(Coordinates.prefix(r, key(structs.FoldName(node))))
}

// Distances returns a function that tells how far nodes are from this one, as
// seconds of a round trip; infinitely far if that is not known, and no way at
// all from the node to itself. Coordinates are not watched: a list that is
// sorted by them is not another one for that.
func (r *Reader) Distances(node string) func(other string) float64 {
	quiet := r.quiet()
	place := func(node string) *structs.Coordinate { return Coordinates.get(quiet, key(structs.FoldName(node), "")) }
	from := place(node)
	return func(other string) float64 {
		if structs.FoldName(other) == structs.FoldName(node) {
			return 0
		}
		to := place(other)
		if from == nil || to == nil {
			return math.Inf(1)
		}
		return from.Coord.DistanceTo(to.Coord).Seconds()
	}
}

// ApplyCoordinates stores coordinates, as far as their nodes are in the catalog.
// One that has not changed wakes nobody.
func (w *Writer) ApplyCoordinates(batch *structs.CoordinateBatch) (struct{}, error) {
	quiet := w.quiet()
	for _, c := range *batch {
		if c == nil || !c.Valid() || w.node(c.Node) == nil {
			continue
		}
		if reflect.DeepEqual(Coordinates.get(quiet, Coordinates.key(c)), c) {
			continue
		}
		Coordinates.put(w, c)
		w.changed(Coordinates.name)
	}
	return struct{}{}, nil
}

// loseCoordinates forgets where a node that was removed stood.
func (w *Writer) loseCoordinates(node string) {
	for _, c := range slices.Collect(Coordinates.prefix(&w.Reader, key(structs.FoldName(node)))) {
		Coordinates.remove(w, c)
		w.changed(Coordinates.name)
	}
}
