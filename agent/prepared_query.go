package agent

import (
	"net/http"
	"strconv"
	"strings"

	"praetor/structs"
)

// maxPreparedQuery is more than a query may take: the server has the last word.
var maxPreparedQuery = limit{128 << 10, "the size of a prepared query"}

// preparedQueryCreate answers with the id of the new query.
func preparedQueryCreate(c *exchange) error {
	id, err := c.queryApply(structs.PreparedQueryCreate, "")
	if err != nil {
		return err
	}
	return c.reply(struct{ ID string }{id})
}

func preparedQueryUpdate(c *exchange) error {
	if _, err := c.queryApply(structs.PreparedQueryUpdate, c.rest); err != nil {
		return err
	}
	return c.done()
}

func preparedQueryDelete(c *exchange) error {
	if _, err := c.queryApply(structs.PreparedQueryDelete, c.rest); err != nil {
		return err
	}
	return c.done()
}

// queryApply changes queries. The id in the path goes before that in the body.
func (c *exchange) queryApply(op structs.PreparedQueryOp, id string) (string, error) {
	q := structs.PreparedQueryRequest{Datacenter: c.query.datacenter(), Op: op, Query: &structs.PreparedQuery{}}
	if op != structs.PreparedQueryDelete {
		if err := c.decode(maxPreparedQuery, q.Query); err != nil {
			return "", err
		}
	}
	if id != "" {
		q.Query.ID = id
	}
	err := c.call("PreparedQuery.Apply", &q, &id)
	return id, err
}

func preparedQueryList(c *exchange) error {
	q := structs.DCSpecificRequest{Datacenter: c.query.datacenter()}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	return c.queries("PreparedQuery.List", &q.QueryOptions, &q)
}

// preparedQueryRead answers with a query, or with what comes of it.
func preparedQueryRead(c *exchange) error {
	if name, ok := strings.CutSuffix(c.rest, "/execute"); ok {
		return preparedQueryExecute(c, name)
	}
	if name, ok := strings.CutSuffix(c.rest, "/explain"); ok {
		return preparedQueryExplain(c, name)
	}
	q := structs.PreparedQuerySpecificRequest{Datacenter: c.query.datacenter(), QueryID: c.rest}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return err
	}
	return c.queries("PreparedQuery.Get", &q.QueryOptions, &q)
}

func (c *exchange) queries(method string, options *structs.QueryOptions, q any) error {
	var reply structs.IndexedPreparedQueries
	if err := c.read(method, options, q, &reply, &reply.QueryMeta); err != nil {
		return queryError(err)
	}
	c.setQueryMeta(&reply.QueryMeta, options)
	return c.reply(notNil(reply.Queries))
}

func preparedQueryExecute(c *exchange, name string) error {
	q, err := c.executeRequest(name)
	if err != nil {
		return err
	}
	var reply structs.PreparedQueryExecuteResponse
	if err := readCached(c, "PreparedQuery.Execute", &q.QueryOptions, q, &reply, &reply.QueryMeta); err != nil {
		return queryError(err)
	}
	reply.Nodes = jsonCheckServiceNodes(reply.Nodes)
	c.setQueryMeta(&reply.QueryMeta, &q.QueryOptions)
	return c.reply(&reply)
}

func preparedQueryExplain(c *exchange, name string) error {
	q, err := c.executeRequest(name)
	if err != nil {
		return err
	}
	var reply structs.PreparedQueryExplainResponse
	if err := c.read("PreparedQuery.Explain", &q.QueryOptions, q, &reply, &reply.QueryMeta); err != nil {
		return queryError(err)
	}
	c.setQueryMeta(&reply.QueryMeta, &q.QueryOptions)
	return c.reply(&reply)
}

func (c *exchange) executeRequest(name string) (*structs.PreparedQueryExecuteRequest, error) {
	q := &structs.PreparedQueryExecuteRequest{Datacenter: c.query.datacenter(), QueryIDOrName: name}
	q.Agent = structs.QuerySource{Datacenter: c.config.Datacenter, Node: c.config.NodeName}
	if err := c.readOptions(&q.QueryOptions); err != nil {
		return nil, err
	}
	q.Source = c.source()
	q.Source.Ip = c.sourceIP() // for a query that says near "_ip"
	if text := c.query.get("limit"); text != "" {
		var err error
		if q.Limit, err = strconv.Atoi(text); err != nil {
			return nil, structs.Errorf(structs.Invalid, "Bad limit: %v", err)
		}
	}
	if text := c.query.get("connect"); text != "" {
		var err error
		if q.Connect, err = strconv.ParseBool(text); err != nil {
			return nil, structs.Errorf(structs.Invalid, "Error parsing 'connect' value: %v", err)
		}
	}
	return q, nil
}

// queryError makes a query that is not there a 404, as Consul does.
func queryError(err error) error {
	if structs.IsCode(err, structs.NotFound) {
		return &statusError{http.StatusNotFound, err.Error()}
	}
	return err
}

// setQueryMeta sets the headers of a read, and says in the reply how it was read.
func (c *exchange) setQueryMeta(m *structs.QueryMeta, q *structs.QueryOptions) {
	c.setCatalogMeta(q, m)
	m.ConsistencyLevel = c.w.Header().Get("X-Consul-Effective-Consistency")
}
