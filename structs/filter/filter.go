// Package filter picks rows by an expression such as
//
//	Service.Meta.version == 2 and not (Checks.Status == critical or v1 in Service.Tags)
//
// The language and its meaning are those of Consul's ?filter. One match, such
// as Node == a, is read by hashicorp/go-bexpr. What joins matches is read here:
// the library tries brackets in every way there is, which takes it seconds for
// nine of them and for ever for twenty.
//
// A selector names fields of the row, keys of maps, and what is in lists: then
// one element that matches is enough. What is asked of a map for a key that it
// does not have is false, or true where the operator negates.
package filter

import (
	"reflect"

	"praetor/structs"
)

// Limits of an expression.
const (
	MaxLength = 4 << 10 // bytes
	MaxDepth  = 64      // brackets and nots in one another
)

// Rows returns the rows that the expression holds for, in their order. With an
// empty expression these are all. The rows are left as they are. An expression
// that makes no sense for rows of this type is an error with code Invalid.
func Rows[T any](expression string, rows []T) ([]T, error) {
	if expression == "" {
		return rows, nil
	}
	holds, err := compile(expression, reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	var found []T
	for i := range rows {
		if holds(reflect.ValueOf(&rows[i]).Elem()) {
			found = append(found, rows[i])
		}
	}
	return found, nil
}

// Check reports what is wrong with an expression for rows of type T, before
// there are any.
func Check[T any](expression string) error {
	_, err := Rows(expression, []T(nil))
	return err
}

// condition is a compiled expression.
type condition func(row reflect.Value) bool

func compile(expression string, row reflect.Type) (condition, error) {
	if len(expression) > MaxLength {
		return nil, invalid("the filter has %d bytes, more than %d (the limit of a filter's length)", len(expression), MaxLength)
	}
	p := &parser{text: expression, row: row}
	holds, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.at < len(p.text) {
		return nil, invalid("%s: unexpected %q", p.where(), p.text[p.at:p.at+1])
	}
	return holds, nil
}

func invalid(format string, args ...any) error {
	return structs.Errorf(structs.Invalid, "Failed to create boolean expression evaluator: "+format, args...)
}
