package state

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/go-memdb"

	"praetor/structs"
)

// RunTxn runs operations as a transaction does.
var RunTxn = runTxn

// Dump is every row of a table as text.
func Dump(table anyTable, r *Reader) string {
	text := ""
	rows := must(r.txn.Get(table.Name(), primary+"_prefix", Key{}))
	for row := range sequence[any](anyRows{rows}) {
		line, _ := json.Marshal(*row)
		all, err := structs.AppendValue(nil, *row) // has fields that JSON does not show
		text += fmt.Sprintf("%s %x %v\n", line, all, err)
	}
	return text
}

// anyRows gives the rows of any table as one type.
type anyRows struct{ memdb.ResultIterator }

func (i anyRows) Next() any {
	row := i.ResultIterator.Next()
	if row == nil {
		return nil
	}
	return &row
}
