package structs

// PreparedQuery is a question for instances of a service that is kept under an
// id and a name, or a template for such questions. As a stored row it is shared
// by all readers: clone it before changing it.
type PreparedQuery struct {
	ID       string // UUID, chosen by the leader
	Name     string // found whatever the case; of a template, what the names that it answers to begin with
	Session  string // the query goes when this session does; "" stays
	Token    string // kept for those who read it
	Template QueryTemplate
	Service  ServiceQuery
	DNS      QueryDNS
	RaftIndex
}

// QueryTemplate makes a template of a query: variables in the strings of its
// Service are filled in when it is executed.
type QueryTemplate struct {
	Type            string // QueryTemplateNamePrefix; "" is no template
	Regexp          string // matched with the name that is asked for
	RemoveEmptyTags bool   // tags that are empty once they are filled in are left out
}

// QueryTemplateNamePrefix is the one type of templates: it answers to all names
// that begin with its own, unless a longer one does.
const QueryTemplateNamePrefix = "name_prefix_match"

// IsTemplate reports whether the query is a template.
func (q *PreparedQuery) IsTemplate() bool { return q.Template.Type != "" }

// ServiceQuery says which instances are wanted.
type ServiceQuery struct {
	Service        string
	SamenessGroup  string // Consul Enterprise's
	Failover       QueryFailover
	IncludeAll     bool
	OnlyPassing    bool              // leave out instances with a warning, too
	IgnoreCheckIDs []string          // checks that do not count
	Near           string            // node, "_agent" or "_ip": the nearest first
	Tags           []string          // all must be there; none of those with a ! before them
	NodeMeta       map[string]string // all must be there
	ServiceMeta    map[string]string // all must be there
	Connect        bool              // Consul's mesh
	Peer           string            // of a restored snapshot; "" is ours
}

// QueryFailover says where to look when there is no healthy instance here. As
// there is no other datacenter, it is kept and has no effect.
type QueryFailover struct {
	SkipLocalDatacenter bool
	NearestN            int
	Datacenters         []string
	Targets             []QueryTarget
}

// QueryTarget is a datacenter or a peer to look in.
type QueryTarget struct {
	Peer       string
	Datacenter string
}

// QueryDNS says how the result of a query is served over DNS.
type QueryDNS struct {
	TTL string // Go duration
}

// PreparedQueryOp is what a PreparedQueryRequest does.
type PreparedQueryOp string

// The operations of PreparedQuery.Apply.
const (
	PreparedQueryCreate PreparedQueryOp = "create"
	PreparedQueryUpdate PreparedQueryOp = "update"
	PreparedQueryDelete PreparedQueryOp = "delete"
)

// PreparedQueryRequest creates, changes or deletes a query. The reply is its id.
type PreparedQueryRequest struct {
	Datacenter string
	Op         PreparedQueryOp
	Query      *PreparedQuery
	WriteRequest
}

// Type makes PreparedQueryRequest a Command.
func (*PreparedQueryRequest) Type() MessageType { return PreparedQueryRequestType }

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (r *PreparedQueryRequest) RequestDatacenter() string { return r.Datacenter }

// PreparedQuerySpecificRequest is a read of one query.
type PreparedQuerySpecificRequest struct {
	Datacenter string
	QueryID    string
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *PreparedQuerySpecificRequest) RequestDatacenter() string { return q.Datacenter }

// IndexedPreparedQueries is the reply to PreparedQuery.Get and PreparedQuery.List.
type IndexedPreparedQueries struct {
	Queries []*PreparedQuery
	QueryMeta
}

// PreparedQueryExecuteRequest executes or explains a query.
type PreparedQueryExecuteRequest struct {
	Datacenter    string
	QueryIDOrName string
	Limit         int // most instances that are wanted; 0: all
	Connect       bool
	Source        QuerySource // near whom; goes before what the query says
	Agent         QuerySource // who asks for the client: "_agent"
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *PreparedQueryExecuteRequest) RequestDatacenter() string { return q.Datacenter }

// PreparedQueryExecuteRemoteRequest executes a query that another datacenter has.
type PreparedQueryExecuteRemoteRequest struct {
	Datacenter string
	Query      PreparedQuery
	Limit      int
	Connect    bool
	QueryOptions
}

// RequestDatacenter returns the datacenter that a request names; empty is ours.
func (q *PreparedQueryExecuteRemoteRequest) RequestDatacenter() string { return q.Datacenter }

// PreparedQueryExecuteResponse is what executing a query found.
type PreparedQueryExecuteResponse struct {
	Service    string
	Nodes      []CheckServiceNode
	DNS        QueryDNS
	Datacenter string
	PeerName   string
	Failovers  int
	QueryMeta
}

// PreparedQueryExplainResponse is the query as it would be executed.
type PreparedQueryExplainResponse struct {
	Query PreparedQuery
	QueryMeta
}
