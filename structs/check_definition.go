package structs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// HealthCheckDefinition says how a check is made, for those who make it: the
// catalog only keeps it.
type HealthCheckDefinition struct {
	HTTP                           string              `json:",omitempty"`
	TLSServerName                  string              `json:",omitempty"`
	TLSSkipVerify                  bool                `json:",omitempty"`
	Header                         map[string][]string `json:",omitempty"`
	Method                         string              `json:",omitempty"`
	Body                           string              `json:",omitempty"`
	DisableRedirects               bool                `json:",omitempty"`
	TCP                            string              `json:",omitempty"`
	TCPUseTLS                      bool                `json:",omitempty"`
	UDP                            string              `json:",omitempty"`
	H2PING                         string              `json:",omitempty"`
	OSService                      string              `json:",omitempty"`
	H2PingUseTLS                   bool                `json:",omitempty"`
	Interval                       time.Duration       `json:",omitempty"`
	OutputMaxSize                  uint                `json:",omitempty"` // bytes
	Timeout                        time.Duration       `json:",omitempty"`
	DeregisterCriticalServiceAfter time.Duration       `json:",omitempty"`
	ScriptArgs                     []string            `json:",omitempty"`
	DockerContainerID              string              `json:",omitempty"`
	Shell                          string              `json:",omitempty"`
	GRPC                           string              `json:",omitempty"`
	GRPCUseTLS                     bool                `json:",omitempty"`
	AliasNode                      string              `json:",omitempty"`
	AliasService                   string              `json:",omitempty"`
	SessionName                    string              `json:",omitempty"` // a check of type session follows the session of this name
	TTL                            time.Duration       `json:",omitempty"`
}

// plainDefinition has the fields without the methods.
type plainDefinition HealthCheckDefinition

// jsonDefinition shadows the durations with ones that are text in JSON.
type jsonDefinition struct {
	*plainDefinition
	Interval                       Duration `json:",omitempty"`
	Timeout                        Duration `json:",omitempty"`
	DeregisterCriticalServiceAfter Duration `json:",omitempty"`
	TTL                            Duration `json:",omitempty"`
}

// MarshalJSON writes durations as text, and nothing that is not set.
func (d HealthCheckDefinition) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonDefinition{
		(*plainDefinition)(&d), Duration(d.Interval), Duration(d.Timeout), Duration(d.DeregisterCriticalServiceAfter), Duration(d.TTL),
	})
}

// UnmarshalJSON reads durations from text or from nanoseconds. The Go client
// sends each of them twice; the twin, such as IntervalDuration, fills in for
// one that is not set. Unknown fields are errors.
func (d *HealthCheckDefinition) UnmarshalJSON(text []byte) error {
	var in struct {
		jsonDefinition
		IntervalDuration                       Duration
		TimeoutDuration                        Duration
		DeregisterCriticalServiceAfterDuration Duration
	}
	in.plainDefinition = (*plainDefinition)(d)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return err
	}
	either := func(first, second Duration) time.Duration {
		if first == 0 {
			first = second
		}
		return time.Duration(first)
	}
	d.Interval = either(in.Interval, in.IntervalDuration)
	d.Timeout = either(in.Timeout, in.TimeoutDuration)
	d.DeregisterCriticalServiceAfter = either(in.DeregisterCriticalServiceAfter, in.DeregisterCriticalServiceAfterDuration)
	d.TTL = time.Duration(in.TTL)
	return nil
}

// Duration is text such as "10s" in JSON. It is read from a number of
// nanoseconds as well, and from null and "", which are 0.
type Duration time.Duration

// MarshalJSON writes the text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads text, a number or null.
func (d *Duration) UnmarshalJSON(text []byte) error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	switch v := value.(type) {
	case nil:
		*d = 0
	case float64:
		*d = Duration(v)
	case string:
		if v == "" {
			*d = 0
			return nil
		}
		parsed, err := time.ParseDuration(v)
		if err != nil {
			return err
		}
		*d = Duration(parsed)
	default:
		return fmt.Errorf("%s is no duration: write it as text, such as \"10s\"", text)
	}
	return nil
}
