package command

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl"
)

// service is a service's definition in the form of the HTTP API, whose field
// names have no case.
type service map[string]any

func (s service) text(field string) string {
	for name, value := range s {
		if text, ok := value.(string); ok && strings.EqualFold(name, field) {
			return text
		}
	}
	return ""
}

func (s service) id() string { return cmp.Or(s.text("id"), s.text("name")) }

// readServices reads the services in files.
func readServices(files []string) ([]service, error) {
	var all []service
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, failf("Error! The file cannot be read: %v", err)
		}
		found, err := parseServices(data)
		if err != nil {
			return nil, failf("Error! No services can be read from %s: %v", file, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func parseServices(data []byte) (services []service, err error) {
	defer func() {
		if p := recover(); p != nil { // the HCL scanner panics on some bad input
			err = fmt.Errorf("it is no HCL: %v", p)
		}
	}()
	var tree map[string]any
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		err = json.Unmarshal(data, &tree)
	} else {
		err = hcl.Unmarshal(data, &tree)
	}
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		value := tree[key]
		if key != "service" && key != "services" {
			return nil, fmt.Errorf(`%q stands there, where only "service" and "services" may`, key)
		}
		blocks, ok := plain("services", value).([]any)
		if !ok {
			blocks = []any{plain("", value)}
		}
		for _, b := range blocks {
			block, ok := b.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s holds something that is no block", key)
			}
			s := service(block)
			if s.text("name") == "" {
				return nil, fmt.Errorf("a service without a name")
			}
			services = append(services, s)
		}
	}
	if len(services) == 0 {
		return nil, fmt.Errorf(`there is no "service" block, and no "services" list`)
	}
	return services, nil
}

// plain turns what HCL makes of blocks, lists of maps, into what JSON has: one
// block under a name is an object, unless the name is that of a list.
func plain(name string, value any) any {
	switch v := value.(type) {
	case []map[string]any:
		var items []any
		for _, block := range v {
			items = append(items, plain("", block))
		}
		if len(items) == 1 && name != "checks" && name != "services" {
			return items[0]
		}
		return items
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, item := range v {
			object[key] = plain(key, item)
		}
		return object
	case []any:
		items := make([]any, 0, len(v))
		for _, item := range v {
			items = append(items, plain("", item))
		}
		return items
	}
	return value
}
