package agent

import (
	"net/http"

	"github.com/hashicorp/serf/coordinate"

	"praetor/structs"
)

var errNoCoordinates = &statusError{http.StatusUnauthorized, "Coordinate support disabled"}

// coordinateDatacenters answers with where the servers stand.
func coordinateDatacenters(c *exchange) error {
	if c.config.DisableCoordinates {
		return errNoCoordinates
	}
	var maps []structs.DatacenterMap
	if err := c.call("Coordinate.ListDatacenters", &struct{}{}, &maps); err != nil {
		return err
	}
	return c.reply(maps)
}

// coordinateNodes answers with where all nodes stand.
func coordinateNodes(c *exchange) error {
	if c.config.DisableCoordinates {
		return errNoCoordinates
	}
	q := structs.DCSpecificRequest{Datacenter: c.query.datacenter()}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	found, err := c.coordinates("Coordinate.ListNodes", &q.QueryOptions, &q)
	if err != nil {
		return err
	}
	return c.reply(found)
}

// coordinateNode answers with where one node stands, in each segment.
func coordinateNode(c *exchange) error {
	if c.config.DisableCoordinates {
		return errNoCoordinates
	}
	q := structs.NodeSpecificRequest{Datacenter: c.query.datacenter(), Node: c.rest}
	if q.Node == "" {
		return badRequest("Missing node name")
	}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	found, err := c.coordinates("Coordinate.Node", &q.QueryOptions, &q)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		c.send(http.StatusNotFound, nil, nil)
		return nil
	}
	return c.reply(found)
}

// coordinates reads coordinates, those of the segment that was asked for, and
// sets the headers of a read.
func (c *exchange) coordinates(method string, options *structs.QueryOptions, q any) ([]*structs.Coordinate, error) {
	var reply structs.IndexedCoordinates
	if err := c.read(method, options, q, &reply, &reply.QueryMeta); err != nil {
		return nil, err
	}
	c.setMeta(&reply.QueryMeta)
	found := []*structs.Coordinate{}
	for _, row := range reply.Coordinates {
		if !c.query.has("segment") || row.Segment == c.query.get("segment") {
			found = append(found, row)
		}
	}
	return found, nil
}

// maxCoordinate is far more than a coordinate needs.
var maxCoordinate = limit{16 << 10, "the size of a coordinate"}

func coordinateUpdate(c *exchange) error {
	if c.config.DisableCoordinates {
		return errNoCoordinates
	}
	var given struct {
		Node, Segment, Partition string
		Coord                    *coordinate.Coordinate
	}
	if err := c.decode(maxCoordinate, &given); err != nil {
		return err
	}
	if p := given.Partition; p != "" && p != "default" {
		return badRequest(textPartitions, "field", "Partition")
	}
	q := structs.CoordinateUpdateRequest{
		Datacenter: c.query.datacenter(), Node: given.Node, Segment: given.Segment, Coord: given.Coord,
	}
	if err := c.call("Coordinate.Update", &q, &struct{}{}); err != nil {
		return err
	}
	return c.done()
}
