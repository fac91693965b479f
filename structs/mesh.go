package structs

import (
	"bytes"
	"encoding/json"
)

// What of Consul's mesh stands in a service: Praetor keeps it as it came and
// gives it no meaning. Parts that only the mesh reads are Opaque.

// ServiceProxy says, in Consul, how a proxy stands before a service.
type ServiceProxy struct {
	DestinationServiceName string `json:",omitempty"`
	DestinationServiceID   string `json:",omitempty"`
	LocalServiceAddress    string `json:",omitempty"`
	LocalServicePort       int    `json:",omitempty"`
	LocalServiceSocketPath string `json:",omitempty"`
	Mode                   string
	Config                 Opaque   `json:",omitempty"`
	Upstreams              []Opaque `json:",omitempty"`
	MeshGateway            ProxyMeshGateway
	Expose                 ProxyExpose
	TransparentProxy       ProxyTransparent `json:",omitzero"`
	MutualTLSMode          string           `json:",omitempty"`
	AccessLogs             ProxyAccessLogs  `json:",omitzero"`
	EnvoyExtensions        []Opaque         `json:",omitempty"`
}

// ProxyMeshGateway is a part of ServiceProxy.
type ProxyMeshGateway struct {
	Mode string `json:",omitempty"`
}

// ProxyExpose is a part of ServiceProxy.
type ProxyExpose struct {
	Checks bool     `json:",omitempty"`
	Paths  []Opaque `json:",omitempty"`
}

// ProxyTransparent is a part of ServiceProxy.
type ProxyTransparent struct {
	OutboundListenerPort int  `json:",omitempty"`
	DialedDirectly       bool `json:",omitempty"`
}

// ProxyAccessLogs is a part of ServiceProxy.
type ProxyAccessLogs struct {
	Enabled             bool   `json:",omitempty"`
	DisableListenerLogs bool   `json:",omitempty"`
	Type                string `json:",omitempty"`
	Path                string `json:",omitempty"`
	JSONFormat          string `json:",omitempty"`
	TextFormat          string `json:",omitempty"`
}

// ServiceConnect says, in Consul, whether a service speaks the mesh's protocol.
type ServiceConnect struct {
	Native         bool   `json:",omitempty"`
	PeerMeta       Opaque `json:",omitempty"`
	SidecarService Opaque `json:",omitempty"`
}

// Opaque is an object that is kept for others, as it came. Whole numbers of
// JSON stay whole, since the log and the snapshot tell them from fractions.
type Opaque map[string]any

// UnmarshalJSON reads any object.
func (o *Opaque) UnmarshalJSON(text []byte) error {
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	var object map[string]any
	if err := in.Decode(&object); err != nil {
		return err
	}
	for name, value := range object {
		object[name] = wholeNumbers(value)
	}
	*o = object
	return nil
}

func wholeNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if whole, err := v.Int64(); err == nil {
			return whole
		}
		fraction, _ := v.Float64() // the decoder has checked it
		return fraction
	case []any:
		for i := range v {
			v[i] = wholeNumbers(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = wholeNumbers(v[name])
		}
	}
	return value
}
