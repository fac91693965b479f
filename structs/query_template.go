package structs

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxQueryRegexp bounds the regular expression of a template in bytes.
const maxQueryRegexp = 512

// CheckTemplate refuses a template that cannot be filled in.
func (q *PreparedQuery) CheckTemplate() error {
	if q.Template.Type != QueryTemplateNamePrefix {
		return Errorf(Invalid, "Bad Template.Type '%s'", q.Template.Type)
	}
	_, err := q.Fill("", "")
	return err
}

// Fill returns the query that the template stands for when this name is asked
// for: the variables in the strings of its Service have their values. A
// variable is ${name.full}, ${name.prefix} (the template's name), ${name.suffix}
// (what comes behind that), ${match(N)} (a group of the regular expression, ""
// if there is none) or ${agent.segment}; $${ stands for ${ itself. Consul has
// a language there, of which this is what its manual shows.
func (q *PreparedQuery) Fill(name, segment string) (*PreparedQuery, error) {
	v := variables{full: name, prefix: q.Name, suffix: name[min(len(q.Name), len(name)):], segment: segment}
	if q.Template.Regexp != "" {
		if len(q.Template.Regexp) > maxQueryRegexp {
			return nil, Errorf(Invalid, "Bad template: Regexp is longer than %d bytes", maxQueryRegexp)
		}
		pattern, err := regexp.Compile(q.Template.Regexp)
		if err != nil {
			return nil, Errorf(Invalid, "Bad template: bad Regexp: %v", err)
		}
		v.groups = pattern.FindStringSubmatch(name)
	}
	filled := *q
	s := &filled.Service
	s.IgnoreCheckIDs, s.Tags = slices.Clone(s.IgnoreCheckIDs), slices.Clone(s.Tags)
	s.NodeMeta, s.ServiceMeta = maps.Clone(s.NodeMeta), maps.Clone(s.ServiceMeta)
	s.Failover.Datacenters, s.Failover.Targets = slices.Clone(s.Failover.Datacenters), slices.Clone(s.Failover.Targets)
	v.fill(&s.Service, &s.SamenessGroup, &s.Near, &s.Peer)
	v.fillAll(s.IgnoreCheckIDs, s.Tags, s.Failover.Datacenters)
	for i := range s.Failover.Targets {
		v.fill(&s.Failover.Targets[i].Peer, &s.Failover.Targets[i].Datacenter)
	}
	v.fillValues(s.NodeMeta, s.ServiceMeta)
	if v.err != nil {
		return nil, v.err
	}
	if q.Template.RemoveEmptyTags {
		s.Tags = slices.DeleteFunc(s.Tags, func(tag string) bool { return tag == "" })
	}
	return &filled, nil
}

// variables are the values that stand for the variables of a template.
type variables struct {
	full, prefix, suffix, segment string

	groups []string // of the regular expression; none if it does not match
	err    error    // the first one
}

func (v *variables) fill(texts ...*string) {
	for _, text := range texts {
		*text = v.expand(*text)
	}
}

func (v *variables) fillAll(lists ...[]string) {
	for _, list := range lists {
		for i := range list {
			v.fill(&list[i])
		}
	}
}

func (v *variables) fillValues(tables ...map[string]string) {
	for _, table := range tables {
		for name, text := range table {
			table[name] = v.expand(text)
		}
	}
}

// expand returns text with the values of its variables.
func (v *variables) expand(text string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			out.WriteString(text)
			return out.String()
		}
		if literal, escaped := strings.CutSuffix(before, "$"); escaped {
			out.WriteString(literal + "${")
			text = rest
			continue
		}
		variable, behind, closed := strings.Cut(rest, "}")
		if !closed {
			v.fail("'%s' has no } behind ${", text)
			return ""
		}
		out.WriteString(before + v.value(strings.TrimSpace(variable)))
		text = behind
	}
}

func (v *variables) value(variable string) string {
	switch variable {
	case "name.full":
		return v.full
	case "name.prefix":
		return v.prefix
	case "name.suffix":
		return v.suffix
	case "agent.segment":
		return v.segment
	}
	if number, ok := strings.CutPrefix(variable, "match("); ok && strings.HasSuffix(number, ")") {
		group, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(number, ")")))
		if err == nil {
			if group >= 0 && group < len(v.groups) {
				return v.groups[group]
			}
			return ""
		}
	}
	v.fail("there is no variable ${%s}: there are ${name.full}, ${name.prefix}, ${name.suffix}, ${match(N)} and ${agent.segment}", variable)
	return ""
}

func (v *variables) fail(format string, args ...any) {
	if v.err == nil {
		v.err = Errorf(Invalid, "Bad template: "+format, args...)
	}
}
