package agent

import (
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"

	gometrics "github.com/hashicorp/go-metrics/compat"

	"praetor/structs"
)

// route is one row of the table of contents of the HTTP API: a method, "*" for
// all of them, and a path. A path that ends in / stands for all below it.
type route struct {
	pattern string
	serve   func(*exchange) error
}

// routes are looked through in this order where one path is below another.
var routes = []route{
	{"GET /v1/kv/", kvGet},
	{"PUT /v1/kv/", kvPut},
	{"DELETE /v1/kv/", kvDelete},
	{"GET /v1/watch/kv/", feedKV},

	{"PUT /v1/txn", txn},
	{"GET /v1/coordinate/datacenters", coordinateDatacenters},
	{"GET /v1/coordinate/nodes", coordinateNodes},
	{"GET /v1/coordinate/node/", coordinateNode},
	{"PUT /v1/coordinate/update", coordinateUpdate},

	{"GET /v1/query", preparedQueryList},
	{"POST /v1/query", preparedQueryCreate},
	{"GET /v1/query/", preparedQueryRead},
	{"PUT /v1/query/", preparedQueryUpdate},
	{"DELETE /v1/query/", preparedQueryDelete},

	{"PUT /v1/event/fire/", eventFire},
	{"GET /v1/event/list", eventList},

	{"PUT /v1/session/create", sessionCreate},
	{"PUT /v1/session/destroy/", sessionDestroy},
	{"PUT /v1/session/renew/", sessionRenew},
	{"GET /v1/session/info/", sessionInfo},
	{"GET /v1/session/node/", sessionNode},
	{"GET /v1/session/list", sessionList},

	{"PUT /v1/catalog/register", catalogRegister},
	{"PUT /v1/catalog/deregister", catalogDeregister},
	{"GET /v1/catalog/datacenters", catalogDatacenters},
	{"GET /v1/catalog/nodes", catalogNodes},
	{"GET /v1/catalog/services", catalogServices},
	{"GET /v1/catalog/service/", catalogService},
	{"GET /v1/catalog/node/", catalogNode},
	{"GET /v1/catalog/node-services/", catalogNodeServices},
	{"GET /v1/health/node/", healthNode},
	{"GET /v1/health/checks/", healthChecks},
	{"GET /v1/health/service/", healthService},
	{"GET /v1/health/state/", healthState},
	{"GET /v1/operator/usage", operatorUsage},

	{"GET /v1/status/leader", statusLeader},
	{"GET /v1/status/peers", statusPeers},

	{"GET /v1/agent/self", agentSelf},
	{"GET /v1/agent/members", agentMembers},
	{"GET /v1/agent/version", agentVersion},
	{"GET /v1/agent/host", agentHost},
	{"GET /v1/agent/metrics", agentMetrics},
	{"GET /v1/agent/metrics/stream", agentMetricsStream},
	{"GET /v1/agent/monitor", agentMonitor},
	{"PUT /v1/agent/join/", agentJoin},
	{"PUT /v1/agent/leave", agentLeave},
	{"PUT /v1/agent/force-leave/", agentForceLeave},
	{"PUT /v1/agent/reload", agentReload},
	{"PUT /v1/agent/maintenance", agentMaintenance},

	{"GET /v1/agent/services", agentServices},
	{"PUT /v1/agent/service/register", agentServiceRegister},
	{"PUT /v1/agent/service/deregister/", agentServiceDeregister},
	{"PUT /v1/agent/service/maintenance/", agentServiceMaintenance},
	{"GET /v1/agent/service/", agentServiceGet},
	{"GET /v1/agent/health/service/id/", agentServiceHealth},
	{"GET /v1/agent/health/service/name/", agentServiceHealthByName},
	{"GET /v1/agent/checks", agentChecks},
	{"PUT /v1/agent/check/register", agentCheckRegister},
	{"PUT /v1/agent/check/deregister/", agentCheckDeregister},
	{"PUT /v1/agent/check/pass/", agentCheckReport(structs.HealthPassing)},
	{"PUT /v1/agent/check/warn/", agentCheckReport(structs.HealthWarning)},
	{"PUT /v1/agent/check/fail/", agentCheckReport(structs.HealthCritical)},
	{"PUT /v1/agent/check/update/", agentCheckUpdate},

	{"GET /v1/operator/raft/configuration", raftConfiguration},
	{"DELETE /v1/operator/raft/peer", raftRemovePeer},
	{"PUT /v1/operator/raft/peer", raftAddPeer},
	{"POST /v1/operator/raft/peer", raftAddPeer},
	{"PUT /v1/operator/raft/promote", raftPromote},
	{"POST /v1/operator/raft/promote", raftPromote},
	{"PUT /v1/operator/raft/demote", raftDemote},
	{"POST /v1/operator/raft/demote", raftDemote},
	{"POST /v1/operator/raft/transfer-leader", raftTransferLeader},
	{"GET /v1/operator/autopilot/configuration", autopilotGet},
	{"PUT /v1/operator/autopilot/configuration", autopilotSet},
	{"GET /v1/operator/autopilot/health", autopilotHealth},
	{"GET /v1/operator/autopilot/state", autopilotState},
	{"GET /v1/operator/keyring", keyringList},
	{"POST /v1/operator/keyring", keyringChange(structs.KeyringInstall)},
	{"PUT /v1/operator/keyring", keyringChange(structs.KeyringUse)},
	{"DELETE /v1/operator/keyring", keyringChange(structs.KeyringRemove)},

	{"GET /v1/operator/backup/status", backupStatus},
	{"PUT /v1/operator/backup/run", backupRun},

	{"GET /v1/snapshot", snapshotSave},
	{"PUT /v1/snapshot", snapshotRestore},

	{"* /v1/acl/", aclDisabled},
	{"* /v1/agent/token/", aclDisabled},

	{"* /v1/config", noMesh},
	{"* /v1/config/", noMesh},
	{"* /v1/connect/", noMesh},
	{"* /v1/agent/connect/", noMesh},
	{"* /v1/catalog/connect/", noMesh},
	{"* /v1/health/connect/", noMesh},
	{"* /v1/health/ingress/", noMesh},
	{"* /v1/catalog/gateway-services/", noMesh},
	{"* /v1/discovery-chain/", noMesh},
	{"* /v1/exported-services", noMesh},
	{"* /v1/peering/", noPeering},
	{"* /v1/peerings", noPeering},

	{"* /debug/pprof/", debugPprof},
}

const (
	kvPath      = "/v1/kv/"
	watchKVPath = "/v1/watch/kv/"
)

// holdsKeys reports whether what stands behind the path of an endpoint is a key,
// which is not a path: nothing in it may be cleaned.
func holdsKeys(path string) bool { return path == kvPath || path == watchKVPath }

// endpoint is one path with everything that can be done there.
type endpoint struct {
	path    string
	methods []endpointMethod
	allow   []string // value of the Allow header
}

// endpointMethod is what one method does at an endpoint, and how long it took.
type endpointMethod struct {
	name  string
	serve func(*exchange) error
	timed *series
}

// find returns nil if the endpoint does not have the method.
func (e *endpoint) find(method string) *endpointMethod {
	for i := range e.methods {
		if m := &e.methods[i]; m.name == method || m.name == "*" {
			return m
		}
	}
	return nil
}

// router finds the endpoint of a path.
type router struct {
	exact    map[string]*endpoint
	prefixes []*endpoint
	kvApply  *series
	txnApply *series
	txnRead  *series
}

func newRouter(m *metrics) *router {
	rt := &router{
		exact:    map[string]*endpoint{},
		kvApply:  m.series(sample, []string{"kvs", "apply"}, nil),
		txnApply: m.series(sample, []string{"txn", "apply"}, nil),
		txnRead:  m.series(sample, []string{"txn", "read"}, nil),
	}
	for _, r := range routes {
		method, path, _ := strings.Cut(r.pattern, " ")
		e := rt.exact[path]
		if e == nil {
			e = &endpoint{path: path}
			rt.exact[path] = e
			if strings.HasSuffix(path, "/") {
				rt.prefixes = append(rt.prefixes, e)
			}
		}
		e.methods = append(e.methods, endpointMethod{name: method, serve: r.serve})
	}
	for _, e := range rt.exact {
		allow := "OPTIONS"
		for i := range e.methods {
			name := e.methods[i].name
			allow += "," + name
			e.methods[i].timed = m.series(sample, []string{"api", "http"},
				[]gometrics.Label{{Name: "method", Value: name}, {Name: "path", Value: metricPath(e.path)}})
		}
		e.allow = []string{allow}
	}
	return rt
}

// metricPath is how Consul spells a path in a label: v1.kv._
func metricPath(path string) string {
	if strings.HasSuffix(path, "/") {
		path += "_"
	}
	return strings.ReplaceAll(strings.Trim(path, "/"), "/", ".")
}

// find returns nil if there is nothing at the path.
func (rt *router) find(path string) *endpoint {
	if strings.HasPrefix(path, kvPath) {
		return rt.prefixes[0]
	}
	if e := rt.exact[path]; e != nil {
		return e
	}
	i := slices.IndexFunc(rt.prefixes, func(e *endpoint) bool { return strings.HasPrefix(path, e.path) })
	if i < 0 {
		return nil
	}
	return rt.prefixes[i]
}

func aclDisabled(*exchange) error {
	return &statusError{http.StatusUnauthorized, "ACL support disabled"}
}

func noMesh(*exchange) error {
	return notOurs("Praetor has no service mesh: no Connect, no gateways, no intentions and no configuration entries")
}

func noPeering(*exchange) error {
	return notOurs("Praetor has no cluster peering")
}

func notOurs(text string) error { return &statusError{http.StatusNotImplemented, text} }

// debugPprof serves Go's profiles, to those who configured enable_debug.
func debugPprof(c *exchange) error {
	if !c.config.EnableDebug {
		return errNoEndpoint
	}
	switch c.rest {
	case "cmdline":
		pprof.Cmdline(c.w, c.r)
	case "profile":
		pprof.Profile(c.w, c.r)
	case "symbol":
		pprof.Symbol(c.w, c.r)
	case "trace":
		pprof.Trace(c.w, c.r)
	default:
		pprof.Index(c.w, c.r)
	}
	return nil
}
