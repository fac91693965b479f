package structs

import "github.com/hashicorp/serf/coordinate"

// Coordinate is where a node stands in a space in which the distance of two
// nodes is the round-trip time between them. As a stored row it is shared by
// all readers: clone it before changing it.
type Coordinate struct {
	Node      string
	Segment   string // of the network, Consul Enterprise's; "" is everybody's
	Partition string `json:",omitempty"` // Consul Enterprise's, always ""
	Coord     *coordinate.Coordinate
}

// CoordinateDimensions is how many numbers Coord.Vec has.
const CoordinateDimensions = 8

// Valid reports whether distances can be told from the coordinate.
func (c *Coordinate) Valid() bool {
	return c.Coord != nil && c.Coord.IsValid() && len(c.Coord.Vec) == CoordinateDimensions
}

// CoordinateBatch stores coordinates, those of nodes that the catalog does not
// know left out. In a snapshot there is one in each.
type CoordinateBatch []*Coordinate

// Type makes CoordinateBatch a Command.
func (*CoordinateBatch) Type() MessageType { return CoordinateBatchUpdateType }

// CoordinateUpdateRequest says where a node stands. It is carried out with many
// others a little later; until then it is only in the leader's memory.
type CoordinateUpdateRequest struct {
	Datacenter string
	Node       string
	Segment    string
	Coord      *coordinate.Coordinate
	WriteRequest
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *CoordinateUpdateRequest) RequestDatacenter() string { return r.Datacenter }

// IndexedCoordinates is the reply to Coordinate.ListNodes and Coordinate.Node.
type IndexedCoordinates struct {
	Coordinates []*Coordinate
	QueryMeta
}

// DatacenterMap has the coordinates of a datacenter's servers. They can be
// compared within one area only.
type DatacenterMap struct {
	Datacenter  string
	AreaID      string
	Coordinates []*Coordinate
}
