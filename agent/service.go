package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"praetor/structs"
	"praetor/structs/filter"
)

// agentService is a service of this agent as Consul's JSON shows it.
type agentService struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Meta              map[string]string
	Port              int
	Address           string
	SocketPath        string                            `json:",omitempty"`
	TaggedAddresses   map[string]structs.ServiceAddress `json:",omitempty"`
	Weights           structs.Weights
	EnableTagOverride bool
	ContentHash       string                  `json:",omitempty" bexpr:"-"`
	Proxy             *structs.ServiceProxy   `json:",omitempty"`
	Connect           *structs.ServiceConnect `json:",omitempty"`
	Datacenter        string                  `json:",omitempty" bexpr:"-"`
	Locality          *structs.Locality       `json:",omitempty" bexpr:"-"`
}

func newAgentService(row *structs.NodeService, datacenter string) *agentService {
	s := &agentService{
		Kind: row.Kind, ID: row.ID, Service: row.Service, Tags: row.Tags, Meta: row.Meta, Port: row.Port, Address: row.Address,
		SocketPath: row.SocketPath, TaggedAddresses: row.TaggedAddresses, Weights: *row.Weights,
		EnableTagOverride: row.EnableTagOverride, Datacenter: datacenter, Locality: row.Locality,
	}
	if row.Kind != "" {
		s.Proxy = &row.Proxy
	}
	if row.Connect.Native {
		s.Connect = &row.Connect
	}
	return s
}

// contentHash is the same for two services that are shown alike.
func (s *agentService) contentHash() string {
	text, _ := json.Marshal(s) // it came as JSON
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func agentServices(c *exchange) error {
	var all []*agentService
	for _, row := range c.local.allServices() {
		all = append(all, newAgentService(row, c.local.self.datacenter))
	}
	all, err := filter.Rows(c.query.get("filter"), all)
	if err != nil {
		return err
	}
	byID := map[string]*agentService{}
	for _, s := range all {
		byID[s.ID] = s
	}
	return c.reply(byID)
}

// agentServiceGet answers with one service; with ?hash it waits until that is
// not its hash any more.
func agentServiceGet(c *exchange) error {
	if c.rest == "" {
		return errNoServiceID
	}
	var q structs.QueryOptions
	if err := c.readOptions(&q); err != nil {
		return err
	}
	known := c.query.get("hash")
	wait := q.MaxQueryTime
	if wait <= 0 {
		wait = c.config.DefaultQueryTime
	}
	if longest := c.config.MaxQueryTime; longest > 0 {
		wait = min(wait, longest)
	}
	timeout := time.NewTimer(wait + rand.N(wait/16+1))
	defer timeout.Stop()
	for {
		changed := c.local.changes()
		row := c.local.service(c.rest)
		if row == nil {
			return &statusError{http.StatusNotFound, "unknown service ID: " + c.rest}
		}
		s := newAgentService(row, c.local.self.datacenter)
		hash := s.contentHash()
		if known != "" && known == hash {
			select {
			case <-changed:
				continue
			case <-timeout.C:
			case <-c.r.Context().Done():
			case <-c.ctx.Done():
			}
		}
		s.ContentHash = hash
		c.w.Header()["X-Consul-Contenthash"] = []string{hash}
		return c.reply(s)
	}
}

// localError gives an error of the local registrations the status that Consul's
// agents answer with.
func localError(err error) error {
	switch {
	case structs.IsCode(err, structs.Invalid):
		return &statusError{http.StatusBadRequest, err.Error()}
	case structs.IsCode(err, structs.NotFound):
		return &statusError{http.StatusNotFound, err.Error()}
	}
	return err
}

// pushed answers when the catalog was told, or could not be: that is made up for.
func (c *exchange) pushed() error {
	c.local.push(c.r.Context())
	return c.done()
}

func agentServiceRegister(c *exchange) error {
	var d structs.ServiceDefinition
	if err := c.decode(maxRegistration, &d); err != nil {
		return err
	}
	if err := d.Validate(); err != nil {
		return localError(err)
	}
	replace := c.query.has("replace-existing-checks")
	if text := c.query.get("replace-existing-checks"); text != "" {
		replace = text == "true"
	}
	if err := c.local.addService(&d, replace, false); err != nil {
		return localError(err)
	}
	return c.pushed()
}

var errNoServiceID = badRequest("Missing service ID")

func errUnknownService(id string) error {
	return &statusError{http.StatusNotFound, `Unknown service ID "` + id + `". Ensure that the service ID is passed, not the service name.`}
}

func agentServiceDeregister(c *exchange) error {
	if c.rest == "" {
		return errNoServiceID
	}
	found, err := c.local.removeService(c.rest)
	switch {
	case err != nil:
		return err
	case !found:
		return errUnknownService(c.rest)
	}
	return c.pushed()
}

// agentServiceHealth answers with the worst status of a service's checks and of
// the node's, in the HTTP status as well.
func agentServiceHealth(c *exchange) error {
	if c.rest == "" {
		return &statusError{http.StatusInternalServerError, "Missing serviceID"}
	}
	row := c.local.service(c.rest)
	if row == nil {
		return c.health(http.StatusNotFound, "ServiceId "+c.rest+" not found", serviceHealth{AggregatedStatus: structs.HealthCritical})
	}
	health := c.healthOf(row)
	return c.health(healthStatus[health.AggregatedStatus], health.AggregatedStatus, health)
}

// agentServiceHealthByName is the same for all instances of a service: the worst
// of them counts.
func agentServiceHealthByName(c *exchange) error {
	if c.rest == "" {
		return &statusError{http.StatusInternalServerError, "Missing service Name"}
	}
	all := []serviceHealth{}
	worst := structs.HealthPassing
	for _, row := range c.local.allServices() {
		if structs.FoldName(row.Service) == structs.FoldName(c.rest) {
			health := c.healthOf(row)
			all = append(all, health)
			worst = worse(worst, health.AggregatedStatus)
		}
	}
	if len(all) == 0 {
		return c.health(http.StatusNotFound, "ServiceName "+c.rest+" Not Found", all)
	}
	return c.health(healthStatus[worst], worst, all)
}

// serviceHealth is how a service is.
type serviceHealth struct {
	AggregatedStatus string
	Service          *agentService
	Checks           []*structs.HealthCheck
}

func (c *exchange) healthOf(row *structs.NodeService) serviceHealth {
	h := serviceHealth{AggregatedStatus: structs.HealthPassing, Checks: []*structs.HealthCheck{}}
	h.Service = newAgentService(row, c.local.self.datacenter)
	for _, check := range c.local.allChecks() {
		if check.ServiceID != "" && structs.FoldName(check.ServiceID) != structs.FoldName(row.ID) {
			continue
		}
		h.Checks = append(h.Checks, check)
		status := check.Status
		if check.Type == structs.CheckMaintenance {
			status = inMaintenance
		}
		h.AggregatedStatus = worse(h.AggregatedStatus, status)
	}
	return h
}

// inMaintenance is the status of what is in maintenance, among other statuses.
const inMaintenance = "maintenance"

var healthStatus = map[string]int{
	structs.HealthPassing: http.StatusOK, structs.HealthWarning: http.StatusTooManyRequests,
	structs.HealthCritical: http.StatusServiceUnavailable, inMaintenance: http.StatusServiceUnavailable,
}

// worse is the worse one of two statuses.
func worse(a, b string) string {
	for _, status := range []string{inMaintenance, structs.HealthCritical, structs.HealthWarning} {
		if a == status || b == status {
			return status
		}
	}
	return structs.HealthPassing
}

// health answers in text, if that is asked for, or in JSON.
func (c *exchange) health(status int, reason string, v any) error {
	c.w.Header()["X-Consul-Reason"] = []string{reason}
	if c.query.get("format") == "text" || strings.HasPrefix(c.r.Header.Get("Accept"), "text/plain") {
		c.send(status, typeText, []byte(reason))
		return nil
	}
	return c.replyAs(status, v)
}
