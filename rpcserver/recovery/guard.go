package recovery

import (
	"fmt"
	"runtime/debug"
)

// guard runs f and makes an error of a panic: bbolt panics on damage, and
// memory that is mapped from a file which is too short faults.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return f()
}
