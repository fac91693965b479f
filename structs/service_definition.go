package structs

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// ServiceDefinition is a service as its owner describes it to an agent, over
// HTTP or in a configuration file. Its JSON is read with names in snake_case as
// well.
type ServiceDefinition struct {
	Kind              string `json:",omitempty"`
	ID                string // unique on the agent; Validate fills it in from Name
	Name              string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]ServiceAddress `json:",omitempty"`
	Meta              map[string]string
	Port              int
	SocketPath        string `json:",omitempty"`
	Check             *CheckDefinition
	Checks            []*CheckDefinition
	Weights           *Weights
	Token             string
	EnableTagOverride bool
	Locality          *Locality       `json:",omitempty"`
	Proxy             *ServiceProxy   `json:",omitempty"`
	Connect           *ServiceConnect `json:",omitempty"`
}

// UnmarshalJSON reads a definition. Unknown fields are errors.
func (d *ServiceDefinition) UnmarshalJSON(text []byte) error {
	type plain ServiceDefinition
	in := struct {
		*plain
		Proxy, Connect json.RawMessage // shadow the fields: their names are read loosely too
	}{plain: (*plain)(d)}
	if err := decodeLoosely(text, &in, nil); err != nil {
		return err
	}
	if given(in.Proxy) {
		d.Proxy = new(ServiceProxy)
		if err := decodeLoosely(in.Proxy, d.Proxy, nil); err != nil {
			return err
		}
	}
	if given(in.Connect) {
		d.Connect = new(ServiceConnect)
		return decodeLoosely(in.Connect, d.Connect, nil)
	}
	return nil
}

// given reports whether a member of an object is there and not null.
func given(text json.RawMessage) bool { return len(text) > 0 && string(text) != "null" }

// NodeService is the instance that the definition describes.
func (d *ServiceDefinition) NodeService() *NodeService {
	s := &NodeService{
		Kind: d.Kind, ID: d.ID, Service: d.Name, Tags: d.Tags, Address: d.Address, TaggedAddresses: d.TaggedAddresses,
		Meta: d.Meta, Port: d.Port, SocketPath: d.SocketPath, Weights: d.Weights, EnableTagOverride: d.EnableTagOverride,
		Locality: d.Locality,
	}
	if s.Tags == nil {
		s.Tags = []string{}
	}
	if s.Meta == nil {
		s.Meta = map[string]string{}
	}
	if s.Weights == nil {
		s.Weights = &Weights{Passing: 1, Warning: 1}
	}
	if d.Proxy != nil {
		s.Proxy = *d.Proxy
	}
	if d.Connect != nil {
		s.Connect = *d.Connect
	}
	return s
}

// AllChecks are the checks of a service in their order: Check, then Checks. An
// empty one is as good as none.
func (d *ServiceDefinition) AllChecks() []*CheckDefinition {
	var all []*CheckDefinition
	for _, c := range append([]*CheckDefinition{d.Check}, d.Checks...) {
		if c != nil && !c.empty() {
			all = append(all, c)
		}
	}
	return all
}

// Limits of what a service may say about itself.
const (
	maxMetaPairs = 64
	maxMetaKey   = 128
	maxMetaValue = 512
	maxWeight    = 65535
)

var metaKey = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// Validate checks a definition and fills in what follows from the rest.
func (d *ServiceDefinition) Validate() error {
	d.ID = strings.TrimSpace(d.ID)
	if d.Name == "" {
		return Errorf(Invalid, "Missing service name")
	}
	if d.ID == "" {
		d.ID = d.Name
	}
	if FoldName(d.ID) == serversID {
		return Errorf(Invalid, "Invalid service ID: %q is the servers' own", d.ID)
	}
	addresses := []string{d.Address}
	for _, a := range d.TaggedAddresses {
		addresses = append(addresses, a.Address)
	}
	for _, a := range addresses {
		if ip, err := netip.ParseAddr(a); err == nil && ip.IsUnspecified() {
			return Errorf(Invalid, "Invalid service address")
		}
	}
	if d.Connect != nil && d.Connect.SidecarService != nil {
		return Errorf(Unsupported, "Praetor has no service mesh: no Connect, no gateways, no intentions; register the service without Connect.SidecarService")
	}
	if err := d.validateMeta(); err != nil {
		return err
	}
	if w := d.Weights; w != nil {
		switch {
		case w.Passing < 1:
			return Errorf(Invalid, "Invalid Weights: Passing must be greater than 0")
		case w.Warning < 0:
			return Errorf(Invalid, "Invalid Weights: Warning must be greater or equal than 0")
		case w.Passing > maxWeight, w.Warning > maxWeight:
			return Errorf(Invalid, "Invalid Weights: must be less or equal than %d", maxWeight)
		}
	}
	if d.Port < 0 || d.Port > 65535 {
		return Errorf(Invalid, "Invalid service port: %d is not 0 to 65535", d.Port)
	}
	return d.validateChecks()
}

func (d *ServiceDefinition) validateMeta() error {
	if len(d.Meta) > maxMetaPairs {
		return Errorf(Invalid, "Invalid Service Meta: Node metadata cannot contain more than %d key/value pairs", maxMetaPairs)
	}
	for key, value := range d.Meta {
		reason := ""
		switch {
		case key == "":
			reason = "Key cannot be blank"
		case !metaKey.MatchString(key):
			reason = "Key contains invalid characters"
		case len(key) > maxMetaKey:
			reason = "Key is too long (limit: " + strconv.Itoa(maxMetaKey) + " characters)"
		case len(value) > maxMetaValue:
			reason = "Value is too long (limit: " + strconv.Itoa(maxMetaValue) + " characters)"
		default:
			continue
		}
		return Errorf(Invalid, "Invalid Service Meta: Couldn't load metadata pair ('%s', '%s'): %s", key, value, reason)
	}
	return nil
}

// serversID is the id of the service by which servers are shown.
const serversID = "consul"

// validateChecks also gives the checks their names and ids, which count by
// position if there are several.
func (d *ServiceDefinition) validateChecks() error {
	checks := d.AllChecks()
	taken := map[string]bool{}
	for i, c := range checks {
		if err := c.validate("Status for checks must 'passing', 'warning', 'critical'"); err != nil {
			return err
		}
		c.ServiceID = d.ID
		if c.Name == "" {
			c.Name = "Service '" + d.Name + "' check"
		}
		if c.CheckID == "" {
			c.CheckID = c.ID
		}
		if c.CheckID == "" {
			c.CheckID = "service:" + d.ID
			if len(checks) > 1 {
				c.CheckID += ":" + strconv.Itoa(i+1)
			}
		}
		if err := c.validateID(); err != nil {
			return err
		}
		if taken[FoldName(c.CheckID)] {
			return Errorf(Invalid, "Invalid check: two checks of service %q have the id %q", d.ID, c.CheckID)
		}
		taken[FoldName(c.CheckID)] = true
	}
	return nil
}
