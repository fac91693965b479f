package filter

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/go-bexpr/grammar"
)

// compileMatch binds a match to the type of the rows: whether there is such a
// field, whether the operator makes sense there, and what the value is.
func compileMatch(m *grammar.MatchExpression, row reflect.Type) (condition, error) {
	return compilePath(m, m.Selector.Path, row)
}

// compilePath follows the selector from a value of type t.
func compilePath(m *grammar.MatchExpression, path []string, t reflect.Type) (condition, error) {
	if t.Kind() == reflect.Pointer {
		return compilePointer(m, path, t)
	}
	if len(path) == 0 {
		return compileOperator(m, t)
	}
	switch t.Kind() {
	case reflect.Struct:
		field, ok := fieldNamed(t, path[0])
		if !ok {
			return nil, noSelector(m)
		}
		inner, err := compilePath(m, path[1:], field.Type)
		if err != nil {
			return nil, err
		}
		return func(v reflect.Value) bool { return inner(v.FieldByIndex(field.Index)) }, nil
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, noSelector(m)
		}
		inner, err := compilePath(m, path[1:], t.Elem())
		if err != nil {
			return nil, err
		}
		name := reflect.ValueOf(path[0]).Convert(t.Key())
		return func(v reflect.Value) bool {
			if value := v.MapIndex(name); value.IsValid() {
				return inner(value)
			}
			return m.Operator.NotPresentDisposition()
		}, nil
	case reflect.Slice:
		inner, err := compilePath(m, path, t.Elem())
		if err != nil {
			return nil, err
		}
		return func(v reflect.Value) bool {
			for i := range v.Len() {
				if inner(v.Index(i)) {
					return true
				}
			}
			return false
		}, nil
	}
	return nil, noSelector(m)
}

// compilePointer follows a pointer; nil is as a key that is not there.
func compilePointer(m *grammar.MatchExpression, path []string, t reflect.Type) (condition, error) {
	inner, err := compilePath(m, path, t.Elem())
	if err != nil {
		return nil, err
	}
	return func(v reflect.Value) bool {
		if v.IsNil() {
			return m.Operator.NotPresentDisposition()
		}
		return inner(v.Elem())
	}, nil
}

// fieldNamed finds a field. Raft indexes are no fields to filter by.
func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	field, ok := t.FieldByName(name)
	return field, ok && field.IsExported() && len(field.Index) == 1 && !field.Anonymous
}

func noSelector(m *grammar.MatchExpression) error {
	return invalid("Selector %q is not valid", m.Selector.String())
}

// compileOperator is the end of a path.
func compileOperator(m *grammar.MatchExpression, t reflect.Type) (condition, error) {
	raw := ""
	if m.Value != nil {
		raw = m.Value.Raw
	}
	var test condition
	negated := false
	switch m.Operator {
	case grammar.MatchNotEqual, grammar.MatchNotIn, grammar.MatchIsNotEmpty, grammar.MatchNotMatches, grammar.MatchNotContains:
		negated = true
	}
	switch m.Operator {
	case grammar.MatchEqual, grammar.MatchNotEqual:
		equal, err := compileEqual(m, raw, t)
		if err != nil {
			return nil, err
		}
		test = equal
	case grammar.MatchIn, grammar.MatchNotIn, grammar.MatchContains, grammar.MatchNotContains:
		switch {
		case t.Kind() == reflect.String:
			test = func(v reflect.Value) bool { return strings.Contains(v.String(), raw) }
		case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
			name := reflect.ValueOf(raw).Convert(t.Key())
			test = func(v reflect.Value) bool { return v.MapIndex(name).IsValid() }
		case t.Kind() == reflect.Slice:
			equal, err := compileEqual(m, raw, t.Elem())
			if err != nil {
				return nil, err
			}
			test = func(v reflect.Value) bool {
				for i := range v.Len() {
					if equal(v.Index(i)) {
						return true
					}
				}
				return false
			}
		}
	case grammar.MatchIsEmpty, grammar.MatchIsNotEmpty:
		switch t.Kind() {
		case reflect.Map, reflect.Slice:
			test = func(v reflect.Value) bool { return v.Len() == 0 }
		}
	case grammar.MatchMatches, grammar.MatchNotMatches:
		if t.Kind() == reflect.String {
			re, err := regexp.Compile(raw)
			if err != nil {
				return nil, invalid("Failed to compile regular expression %q: %v", raw, err)
			}
			test = func(v reflect.Value) bool { return re.MatchString(v.String()) }
		}
	}
	if test == nil {
		return nil, notSupported(m)
	}
	if negated {
		return func(v reflect.Value) bool { return !test(v) }, nil
	}
	return test, nil
}

func notSupported(m *grammar.MatchExpression) error {
	return invalid("Invalid match operator %q for selector %q", m.Operator.String(), m.Selector.String())
}

// compileEqual reads the value as one of the type.
func compileEqual(m *grammar.MatchExpression, raw string, t reflect.Type) (condition, error) {
	var err error
	var equal condition
	switch t.Kind() {
	case reflect.String:
		return func(v reflect.Value) bool { return v.String() == raw }, nil
	case reflect.Bool:
		var want bool
		want, err = strconv.ParseBool(raw)
		equal = func(v reflect.Value) bool { return v.Bool() == want }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var want int64
		want, err = strconv.ParseInt(raw, 0, t.Bits())
		equal = func(v reflect.Value) bool { return v.Int() == want }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var want uint64
		want, err = strconv.ParseUint(raw, 0, t.Bits())
		equal = func(v reflect.Value) bool { return v.Uint() == want }
	default:
		return nil, notSupported(m)
	}
	if err != nil {
		return nil, invalid("Failed to coerce value %q for selector %q: %v", raw, m.Selector.String(), err)
	}
	return equal, nil
}
