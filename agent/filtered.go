package agent

import (
	"github.com/hashicorp/go-bexpr"

	"praetor/structs"
)

// filtered returns those of a map or slice for which an expression is true; all
// of them if it is empty.
func filtered[M any](expression string, rows M) (M, error) {
	filter, err := bexpr.CreateFilter(expression)
	if err != nil {
		return rows, structs.Errorf(structs.Invalid, "%v", err)
	}
	left, err := filter.Execute(rows)
	if err != nil {
		return rows, structs.Errorf(structs.Invalid, "Failed to create boolean expression evaluator: %v", err)
	}
	return left.(M), nil
}
