package rpcserver

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-uuid"

	"praetor/structs"
)

// Limits of what goes into the catalog. They hold whichever way it comes.
const (
	maxName         = 1 << 10   // bytes of a name, an id, an address, a tag
	maxText         = 64 << 10  // bytes of a check's output or notes
	maxRegistration = 512 << 10 // bytes of one registration in the log

	maxMetaPairs = 64
	maxMetaKey   = 128
	maxMetaValue = 512
)

const uuidLength = 36

var metaKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// catalogRegister checks a registration and fills in what it leaves out.
func catalogRegister(s *Server, c *structs.RegisterRequest) error {
	switch {
	case c.PeerName != "":
		return structs.Errorf(structs.Invalid, "cannot register requests with PeerName in them")
	case c.Node == "":
		return structs.Errorf(structs.Invalid, "Must provide node")
	case c.Address == "" && !c.SkipNodeUpdate:
		return structs.Errorf(structs.Invalid, "Must provide address if SkipNodeUpdate is not set")
	}
	if c.ID != "" {
		if _, err := uuid.ParseUUID(c.ID); err != nil {
			return structs.Errorf(structs.Invalid, "Bad node ID: %v", err)
		}
	}
	if c.Datacenter == "" {
		c.Datacenter = s.config.Datacenter
	}
	if err := checkNode(c); err != nil {
		return err
	}
	if c.Service != nil {
		if err := prepareService(c.Service); err != nil {
			return err
		}
	}
	if c.Check != nil {
		c.Checks = append(c.Checks, c.Check)
		c.Check = nil
	}
	for _, check := range c.Checks {
		if check == nil {
			return structs.Errorf(structs.Invalid, "one of the checks is empty")
		}
		if check.Node == "" {
			check.Node = c.Node
		}
		if structs.FoldName(check.Node) != structs.FoldName(c.Node) {
			return structs.Errorf(structs.Invalid, "Node '%s' for check '%s' doesn't match register request node '%s'", check.Node, check.CheckID, c.Node)
		}
		if err := prepareCheck(check); err != nil {
			return err
		}
	}
	return checkRegistrationSize(c)
}

func checkRegistrationSize(c structs.Command) error {
	entry, err := structs.EncodeCommand(c)
	if err != nil {
		return err
	}
	if len(entry) > maxRegistration {
		return structs.Errorf(structs.TooLarge, "the registration has %d bytes, more than %d (the limit of a registration)", len(entry), maxRegistration)
	}
	return nil
}

func catalogDeregister(_ *Server, c *structs.DeregisterRequest) error {
	switch {
	case c.PeerName != "":
		return structs.Errorf(structs.Invalid, "cannot deregister requests with PeerName in them")
	case c.Node == "":
		return structs.Errorf(structs.Invalid, "Must provide node")
	}
	return checkNames("node name", c.Node, "service id", c.ServiceID, "check id", c.CheckID)
}

func checkNode(c *structs.RegisterRequest) error {
	if err := checkNames("node name", c.Node, "node address", c.Address, "datacenter", c.Datacenter); err != nil {
		return err
	}
	for name, address := range c.TaggedAddresses {
		if err := checkNames("name of a tagged address", name, "tagged address "+name, address); err != nil {
			return err
		}
	}
	return checkMeta("node meta", c.NodeMeta)
}

// prepareService checks a service and fills in what it leaves out.
func prepareService(s *structs.NodeService) error {
	switch {
	case s.Service == "" && s.ID != "":
		return structs.Errorf(structs.Invalid, "Must provide service name (Service.Service) when service ID is provided")
	case s.Service == "":
		return structs.Errorf(structs.Invalid, "Must provide service name (Service.Service)")
	case strings.ContainsFunc(s.Service, unicode.IsSpace):
		return structs.Errorf(structs.Invalid, "Service name %s contains invalid characters. Valid characters include all alpha-numerics and dashes.", s.Service)
	}
	if s.ID == "" {
		s.ID = s.Service
	}
	if addr, err := netip.ParseAddr(strings.Trim(s.Address, "[]")); err == nil && addr.IsUnspecified() {
		return structs.Errorf(structs.Invalid, "Invalid service address")
	}
	if w := s.Weights; w != nil && (w.Passing < 1 || w.Warning < 0 || w.Passing > 65535 || w.Warning > 65535) {
		if *w != (structs.Weights{}) { // what the Go client sends for none
			return structs.Errorf(structs.Invalid, "Invalid Weights: Passing must be 1 to 65535, Warning 0 to 65535")
		}
		s.Weights = nil
	}
	if err := checkNames("service name", s.Service, "service id", s.ID, "service address", s.Address,
		"service kind", s.Kind, "socket path", s.SocketPath); err != nil {
		return err
	}
	for _, tag := range s.Tags {
		if err := checkNames("service tag", tag); err != nil {
			return err
		}
	}
	for name, address := range s.TaggedAddresses {
		if err := checkNames("name of a tagged address", name, "tagged address "+name, address.Address); err != nil {
			return err
		}
	}
	return checkMeta("service meta", s.Meta)
}

// prepareCheck checks a check and fills in what it leaves out.
func prepareCheck(c *structs.HealthCheck) error {
	if c.CheckID == "" {
		c.CheckID = c.Name
	}
	if c.CheckID == "" {
		return structs.Errorf(structs.Invalid, "Must provide check name (Check.Name) or check ID (Check.CheckID)")
	}
	if c.PeerName != "" {
		return structs.Errorf(structs.Invalid, "cannot register requests with PeerName in them")
	}
	if c.Type == "" {
		c.Type = checkType(&c.Definition)
	}
	for _, text := range []struct{ what, text string }{{"output", c.Output}, {"notes", c.Notes}} {
		if len(text.text) > maxText {
			return structs.Errorf(structs.TooLarge, "the %s of check %.100q has %d bytes, more than %d (the limit of a check's texts)", text.what, c.CheckID, len(text.text), maxText)
		}
	}
	return checkNames("node name", c.Node, "check id", c.CheckID, "check name", c.Name, "check status", c.Status, "check type", c.Type,
		"service id", c.ServiceID, "check interval", c.Interval, "check timeout", c.Timeout)
}

// checkType is the type that a definition speaks of, "" if of none.
func checkType(d *structs.HealthCheckDefinition) string {
	switch {
	case d.GRPC != "":
		return "grpc"
	case d.HTTP != "":
		return "http"
	case d.TTL > 0:
		return "ttl"
	case d.TCP != "":
		return "tcp"
	case d.UDP != "":
		return "udp"
	case d.AliasNode != "" || d.AliasService != "":
		return "alias"
	case d.DockerContainerID != "":
		return "docker"
	case len(d.ScriptArgs) > 0:
		return "script"
	case d.H2PING != "":
		return "h2ping"
	case d.OSService != "":
		return "os_service"
	case d.SessionName != "":
		return "session"
	}
	return ""
}

// checkNames takes pairs of what something is and its text.
func checkNames(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		what, text := pairs[i], pairs[i+1]
		if len(text) > maxName {
			return structs.Errorf(structs.TooLarge, "the %.100s has %d bytes, more than %d (the limit of a name)", what, len(text), maxName)
		}
		if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
			return structs.Errorf(structs.Invalid, "the %.100s %.100q holds a character that is none of a text", what, text)
		}
	}
	return nil
}

func checkMeta(what string, meta map[string]string) error {
	if len(meta) > maxMetaPairs {
		return structs.Errorf(structs.Invalid, "%s: it has %d pairs, more than %d (the limit of pairs)", what, len(meta), maxMetaPairs)
	}
	for key, value := range meta {
		switch {
		case len(key) > maxMetaKey:
			return structs.Errorf(structs.Invalid, "%s: the key %.40q... has %d bytes, more than %d (the limit of a key)", what, key, len(key), maxMetaKey)
		case !metaKey.MatchString(key):
			return structs.Errorf(structs.Invalid, "%s: the key %q must be of letters, digits, - and _", what, key)
		case len(value) > maxMetaValue:
			return structs.Errorf(structs.Invalid, "%s: the value of %q has %d bytes, more than %d (the limit of a value)", what, key, len(value), maxMetaValue)
		}
	}
	return nil
}
