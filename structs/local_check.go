package structs

import (
	"cmp"
	"reflect"
	"time"
)

// CheckDefinition is a check as its owner describes it to an agent, over HTTP or
// in a configuration file, by itself or within a service. All kinds of checks
// can be read; Validate refuses those that Praetor does not run.
type CheckDefinition struct {
	ID        string // older name of CheckID
	CheckID   string // unique on the agent; Validate fills it in from Name
	Name      string
	Notes     string
	ServiceID string // "" for a check of the node
	Token     string
	Status    string // at first; "" is critical

	TTL                            Duration
	DeregisterCriticalServiceAfter Duration

	// What the kinds that Praetor does not run need.
	Interval               Duration
	Timeout                Duration
	ScriptArgs             []string
	DockerContainerID      string
	Shell                  string
	HTTP                   string
	Header                 map[string][]string
	Method                 string
	Body                   string
	DisableRedirects       bool
	TLSServerName          string
	TLSSkipVerify          bool
	TCP                    string
	TCPUseTLS              bool
	UDP                    string
	GRPC                   string
	GRPCUseTLS             bool
	H2PING                 string
	H2PingUseTLS           bool
	OSService              string
	AliasNode              string
	AliasService           string
	SuccessBeforePassing   int
	FailuresBeforeWarning  int
	FailuresBeforeCritical int
	OutputMaxSize          int
}

// UnmarshalJSON reads a definition. Unknown fields are errors.
func (d *CheckDefinition) UnmarshalJSON(text []byte) error {
	type plain CheckDefinition
	return decodeLoosely(text, (*plain)(d), map[string]string{"args": "ScriptArgs"})
}

func (d *CheckDefinition) empty() bool { return reflect.ValueOf(*d).IsZero() }

// Validate checks the definition of a check that is not part of a service's, and
// fills in what follows from the rest.
func (d *CheckDefinition) Validate() error {
	if d.Name == "" {
		return Errorf(Invalid, "Missing check name")
	}
	d.CheckID = cmp.Or(d.CheckID, d.ID, d.Name)
	if err := d.validate("Bad check status"); err != nil {
		return err
	}
	return d.validateID()
}

func (d *CheckDefinition) validateID() error {
	if FoldName(d.CheckID) == FoldName(SerfHealth) {
		return Errorf(Invalid, "Invalid check: the ID %q is that of the gossip's own check", d.CheckID)
	}
	return nil
}

// validate checks what a check is made of, and its first status, for which the
// caller has the text of refusal.
func (d *CheckDefinition) validate(badStatus string) error {
	if d.Status != "" && !ValidStatus(d.Status) {
		return Errorf(Invalid, "%s", badStatus)
	}
	script := len(d.ScriptArgs) > 0
	every := script || d.HTTP != "" || d.TCP != "" || d.UDP != "" || d.GRPC != "" || d.H2PING != "" || d.OSService != ""
	alias := d.AliasNode != "" || d.AliasService != ""
	wrong := ""
	switch {
	case d.Interval > 0 && d.TTL > 0:
		wrong = "Interval and TTL cannot both be specified"
	case every && d.Interval <= 0:
		wrong = "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
	case alias && d.Interval != 0:
		wrong = "Interval cannot be set for Alias checks"
	case alias && d.TTL != 0:
		wrong = "TTL must be not be set for Alias checks"
	case !every && !alias && d.TTL <= 0:
		wrong = "TTL must be > 0 for TTL checks"
	case d.DeregisterCriticalServiceAfter < 0:
		wrong = "DeregisterCriticalServiceAfter must not be negative"
	}
	if wrong != "" {
		return Errorf(Invalid, "Invalid check: %s", wrong)
	}
	if every || alias {
		return Errorf(Unsupported, "Praetor runs TTL checks only so far: give the check a TTL and report its status to /v1/agent/check/update/")
	}
	return nil
}

// ValidStatus reports whether a check can have this status.
func ValidStatus(status string) bool {
	return status == HealthPassing || status == HealthWarning || status == HealthCritical
}

// HealthCheck is the check that the definition describes as it is when it
// starts, on a node.
func (d *CheckDefinition) HealthCheck(node string) *HealthCheck {
	return &HealthCheck{
		Node: node, CheckID: d.CheckID, Name: d.Name, Notes: d.Notes, ServiceID: d.ServiceID, ServiceTags: []string{},
		Status: cmp.Or(d.Status, HealthCritical), Type: CheckTTL,
	}
}

// The types of checks that Praetor's agents keep.
const (
	CheckTTL         = "ttl"
	CheckMaintenance = "maintenance"
)

// MinDeregisterAfter is the shortest DeregisterCriticalServiceAfter: less is
// raised to it.
const MinDeregisterAfter = time.Minute
