package structs

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// decodeLoosely reads a JSON object into a struct whose type has no methods of
// its own. Names are found whatever their case and with underscores left out,
// as people write them in configuration files; also says what else a field is
// called. An unknown name is an error.
func decodeLoosely(text []byte, into any, also map[string]string) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return err
	}
	known := fieldNames(reflect.TypeOf(into).Elem())
	named := make(map[string]json.RawMessage, len(given))
	for _, name := range slices.Sorted(maps.Keys(given)) {
		plain := strings.ToLower(strings.ReplaceAll(name, "_", ""))
		field := known[plain]
		if other := also[plain]; other != "" {
			field = other
		}
		if field == "" {
			field = name
		}
		named[field] = given[name]
	}
	plain, err := json.Marshal(named)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// fieldNames are the names of a struct's fields by what they are in lower case.
func fieldNames(t reflect.Type) map[string]string {
	names := map[string]string{}
	for _, field := range reflect.VisibleFields(t) {
		if !field.Anonymous {
			names[strings.ToLower(field.Name)] = field.Name
		}
	}
	return names
}
