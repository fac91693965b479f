package agent

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"

	"praetor/structs"
)

// maxRegistration is the size of a registration's body in bytes.
var maxRegistration = limit{512 << 10, "the limit of a registration"}

// decode reads a JSON body. Names of fields may be in any case; unknown ones
// are refused.
func (c *exchange) decode(max limit, into any) error {
	text, err := c.body(max)
	if err != nil {
		return err
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(into); err != nil {
		return badRequest("Request decode failed: %v", err)
	}
	return nil
}

func catalogRegister(c *exchange) error {
	var q structs.RegisterRequest
	if err := c.decode(maxRegistration, &q); err != nil {
		return err
	}
	if q.Datacenter == "" {
		q.Datacenter = c.query.datacenter()
	}
	if err := c.call("Catalog.Register", &q, &struct{}{}); err != nil {
		return err
	}
	return c.sendJSON(jsonTrue)
}

func catalogDeregister(c *exchange) error {
	var q struct {
		structs.DeregisterRequest
		Address string // older clients send it; it says nothing
	}
	if err := c.decode(maxRegistration, &q); err != nil {
		return err
	}
	if q.Datacenter == "" {
		q.Datacenter = c.query.datacenter()
	}
	if err := c.call("Catalog.Deregister", &q.DeregisterRequest, &struct{}{}); err != nil {
		return err
	}
	return c.sendJSON(jsonTrue)
}

func catalogDatacenters(c *exchange) error {
	var q structs.DatacentersRequest
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	var reply []string
	if err := c.call("Catalog.ListDatacenters", &q, &reply); err != nil {
		return err
	}
	if q.UseCache {
		c.hit(0)
	}
	return c.reply(notNil(reply))
}

// source reads ?near: who it is that wants rows sorted by distance.
func (c *exchange) source() structs.QuerySource {
	near := c.query.get("near")
	if near == "_agent" {
		near = c.server.Config().NodeName
	}
	q := structs.QuerySource{Datacenter: c.server.Config().Datacenter, Node: near}
	if near != "" {
		q.Ip = c.sourceIP()
	}
	return q
}

// sourceIP is the address that the request comes from.
func (c *exchange) sourceIP() string {
	if forwarded := c.r.Header.Get("X-Forwarded-For"); forwarded != "" {
		first, _, _ := strings.Cut(forwarded, ",")
		return strings.TrimSpace(first)
	}
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// nodeMeta reads ?node-meta=key:value, all of them.
func (c *exchange) nodeMeta() map[string]string {
	var pairs map[string]string
	for i := range c.query {
		if c.query[i].name != "node-meta" {
			continue
		}
		if pairs == nil {
			pairs = map[string]string{}
		}
		key, value, _ := strings.Cut(c.query[i].value, ":")
		pairs[key] = value
	}
	return pairs
}

// dcRequest reads a request about a whole datacenter.
func (c *exchange) dcRequest(q *structs.DCSpecificRequest) error {
	q.Datacenter, q.NodeMetaFilters, q.Source, q.PeerName = c.query.datacenter(), c.nodeMeta(), c.source(), c.query.get("peer")
	q.Filter = c.query.get("filter")
	return c.readOptions(&q.QueryOptions)
}

// nodeRequest reads a request about the node that the path names.
func (c *exchange) nodeRequest(q *structs.NodeSpecificRequest) error {
	q.Datacenter, q.Node, q.PeerName, q.Filter = c.query.datacenter(), c.rest, c.query.get("peer"), c.query.get("filter")
	if q.Node == "" {
		return badRequest("Missing node name")
	}
	return c.readOptions(&q.QueryOptions)
}

// serviceRequest reads a request about the service that the path names.
func (c *exchange) serviceRequest(q *structs.ServiceSpecificRequest) error {
	q.Datacenter, q.ServiceName, q.NodeMetaFilters, q.Source = c.query.datacenter(), c.rest, c.nodeMeta(), c.source()
	q.PeerName, q.Filter = c.query.get("peer"), c.query.get("filter")
	for _, name := range []string{"sg", "sameness-group"} {
		if q.SamenessGroup == "" {
			q.SamenessGroup = c.query.get(name)
		}
	}
	if q.SamenessGroup != "" && q.PeerName != "" {
		return badRequest("peer-name and sameness-group are mutually exclusive")
	}
	for i := range c.query {
		if c.query[i].name == "tag" {
			q.ServiceTags, q.TagFilter = append(q.ServiceTags, c.query[i].value), true
		}
	}
	if q.ServiceName == "" {
		return badRequest("Missing service name")
	}
	return c.readOptions(&q.QueryOptions)
}

func catalogNodes(c *exchange) error {
	var q structs.DCSpecificRequest
	if err := c.dcRequest(&q); err != nil {
		return err
	}
	var reply structs.IndexedNodes
	if err := c.read("Catalog.ListNodes", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setCatalogMeta(&q.QueryOptions, &reply.QueryMeta)
	return c.reply(notNil(reply.Nodes))
}

func catalogServices(c *exchange) error {
	var q structs.DCSpecificRequest
	if err := c.dcRequest(&q); err != nil {
		return err
	}
	var reply structs.IndexedServices
	if err := readCached(c, "Catalog.ListServices", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setCatalogMeta(&q.QueryOptions, &reply.QueryMeta)
	for name, tags := range reply.Services {
		reply.Services[name] = notNil(tags)
	}
	if reply.Services == nil {
		reply.Services = map[string][]string{}
	}
	return c.reply(reply.Services)
}

func catalogService(c *exchange) error {
	var q structs.ServiceSpecificRequest
	if err := c.serviceRequest(&q); err != nil {
		return err
	}
	var reply structs.IndexedServiceNodes
	if err := readCached(c, "Catalog.ServiceNodes", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setCatalogMeta(&q.QueryOptions, &reply.QueryMeta)
	return c.reply(jsonServiceNodes(reply.ServiceNodes))
}

// catalogNode answers null for a node that is not there.
func catalogNode(c *exchange) error {
	var q structs.NodeSpecificRequest
	if err := c.nodeRequest(&q); err != nil {
		return err
	}
	var reply structs.IndexedNodeServices
	if err := c.read("Catalog.NodeServices", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setCatalogMeta(&q.QueryOptions, &reply.QueryMeta)
	if reply.NodeServices == nil {
		return c.reply(nil)
	}
	out := structs.NodeServices{Node: reply.NodeServices.Node, Services: map[string]*structs.NodeService{}}
	for id, s := range reply.NodeServices.Services {
		out.Services[id] = jsonService(s)
	}
	return c.reply(&out)
}

func catalogNodeServices(c *exchange) error {
	var q structs.NodeSpecificRequest
	if err := c.nodeRequest(&q); err != nil {
		return err
	}
	var reply structs.IndexedNodeServiceList
	if err := c.read("Catalog.NodeServiceList", &q.QueryOptions, &q, &reply, &reply.QueryMeta); err != nil {
		return err
	}
	c.setCatalogMeta(&q.QueryOptions, &reply.QueryMeta)
	out := structs.NodeServiceList{Node: reply.NodeServices.Node}
	if out.Node != nil {
		out.Services = jsonServices(reply.NodeServices.Services)
	}
	return c.reply(&out)
}
