package config

import (
	"encoding/json"
	"slices"

	"praetor/structs"
)

// definitionKeys hold blocks that stand side by side where they are written more than once: other blocks of one name
// become one.
var definitionKeys = []string{"service", "services", "check", "checks"}

// services is a list of definitions of services; those of several sources add up.
func services(name string, to *[]*structs.ServiceDefinition) line {
	return definitions(name, to, (*structs.ServiceDefinition).Validate)
}

// checks is a list of definitions of checks; those of several sources add up.
func checks(name string, to *[]*structs.CheckDefinition) line {
	return definitions(name, to, (*structs.CheckDefinition).Validate)
}

func definitions[T any](name string, to *[]*T, validate func(*T) error) line {
	l := store(name, to, "a block or a list of blocks", asBlocks, func(blocks []map[string]any) error {
		for _, block := range blocks {
			d := new(T)
			text, err := json.Marshal(unlisted(block, "check"))
			if err == nil {
				err = json.Unmarshal(text, d)
			}
			if err == nil {
				err = validate(d)
			}
			if err != nil {
				return err
			}
			*to = append(*to, d)
		}
		return nil
	})
	l.adds = true
	return l
}

// unlisted is a block in which a member that HCL reads as a list of one is that one.
func unlisted(block map[string]any, name string) map[string]any {
	if one := single(block[name]); one != nil {
		block[name] = one
	}
	return block
}

// validateDefinitions looks for two of one id: the second would replace the first.
func (c *checker) validateDefinitions() {
	var services, checks []string
	note := func(ids *[]string, what, id string) {
		if folded := structs.FoldName(id); slices.Contains(*ids, folded) {
			c.fail("%s: two %s have the id %q", label(what), what, id)
		} else {
			*ids = append(*ids, folded)
		}
	}
	for _, s := range c.r.Services {
		note(&services, "services", s.ID)
		for _, check := range s.AllChecks() {
			note(&checks, "checks", check.CheckID)
		}
	}
	for _, check := range c.r.NodeChecks {
		note(&checks, "checks", check.CheckID)
	}
}
