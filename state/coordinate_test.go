package state_test

import (
	"math"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/serf/coordinate"

	"praetor/state"
	"praetor/structs"
)

// place is a coordinate at this many seconds along the first axis.
func place(node string, x float64) *structs.Coordinate {
	c := coordinate.NewCoordinate(coordinate.DefaultConfig())
	c.Vec[0], c.Height = x, 0
	return &structs.Coordinate{Node: node, Coord: c}
}

func (d *db) coordinates(batch ...*structs.Coordinate) {
	d.t.Helper()
	d.index++
	w := d.Write()
	defer w.Abort()
	w.Begin(d.index)
	if _, err := w.ApplyCoordinates((*structs.CoordinateBatch)(&batch)); err != nil {
		d.t.Fatal(err)
	}
	w.Commit()
}

func TestCoordinates(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.mustRegister(node("Web"), node("db")) // 1, 2
	inRack := place("web", 2)
	inRack.Segment = "rack"
	broken, flat := place("db", math.NaN()), place("db", 1)
	flat.Coord.Vec = flat.Coord.Vec[:3]
	d.coordinates(place("web", 1), inRack, place("unknown", 1), nil, &structs.Coordinate{Node: "db"}, broken, flat) // 3
	r := d.Read()
	if all := r.Coordinates(); len(all) != 2 || all[0].Segment != "" || all[1].Segment != "rack" || r.Index() != 3 {
		t.Fatalf("got %d coordinates at %d, want those of web at 3", len(all), r.Index())
	}
	if got := r.NodeCoordinates("WEB"); len(got) != 2 {
		t.Errorf("got %d coordinates of WEB, want 2", len(got))
	}
	d.coordinates(place("web", 1), inRack) // 4: nothing new
	if r := d.Read(); len(r.Coordinates()) != 2 || r.Index() != 3 {
		t.Errorf("a write that changes nothing raised the index to %d", r.Index())
	}
	d.coordinates(place("web", 5)) // 5
	if r := d.Read(); r.NodeCoordinates("web")[0].Coord.Vec[0] != 5 || r.Index() != 5 {
		t.Errorf("the update at 5 is not there: index %d", r.Index())
	}
	d.deregister("web", "") // 6
	if r := d.Read(); len(r.Coordinates()) != 0 || r.Index() != 6 {
		t.Errorf("a removed node left its coordinates, index %d", r.Index())
	}
}

func TestDistances(t *testing.T) {
	t.Parallel()
	d := newDB(t)
	d.mustRegister(node("a"), node("b"), node("c"), node("lost"))
	inRack := place("lost", 1)
	inRack.Segment = "rack"
	d.coordinates(place("a", 0), place("b", 2), place("c", -1), inRack)
	far := math.Inf(1)
	for _, test := range []struct {
		from, to string
		want     float64
	}{
		{"a", "b", 2}, {"A", "c", 1}, {"b", "C", 3}, {"a", "A", 0},
		{"a", "lost", far}, {"a", "nobody", far}, {"nobody", "a", far}, {"lost", "lost", 0},
	} {
		if got := d.Read().Distances(test.from)(test.to); got != test.want {
			t.Errorf("from %s to %s: got %v, want %v", test.from, test.to, got, test.want)
		}
	}
}

// Who watches a list that is sorted by distance is not woken by coordinates.
func TestDistancesAreNotWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDB(t)
		d.mustRegister(node("a"), node("b"))
		d.coordinates(place("a", 1), place("b", 1))
		for _, test := range []struct {
			name string
			read func(*state.Reader)
			want bool
		}{
			{"distances", func(r *state.Reader) { r.Distances("a")("b") }, false},
			{"all", func(r *state.Reader) { r.Coordinates() }, true},
			{"of the node", func(r *state.Reader) { r.NodeCoordinates("b") }, true},
			{"of another", func(r *state.Reader) { r.NodeCoordinates("a") }, false},
		} {
			r := d.Watch()
			test.read(r)
			d.coordinates(place("b", float64(d.index)))
			if got := woken(r); got != test.want {
				t.Errorf("%s: woken %v, want %v", test.name, got, test.want)
			}
		}
	})
}
