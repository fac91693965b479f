package structs

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an error is, so that callers never look at
// its text. Codes travel over RPC beside the text and choose the HTTP status.
type Code uint16

// Codes are on the wire: append only.
const (
	Internal      Code = 0  // something of ours is broken; nothing the caller can mend
	Invalid       Code = 1  // the request makes no sense as it is
	NotFound      Code = 2  // the thing named is not there
	TooLarge      Code = 3  // over a limit; the text names the knob
	NoLeader      Code = 4  // no leader is known; nothing was done; try again
	NotReady      Code = 5  // the leader has not yet caught up; nothing was done; try again
	Unclear       Code = 6  // the outcome is unknown: it may or may not have been done
	NoPath        Code = 7  // no way to the datacenter named
	UnknownMethod Code = 8  // no such RPC method
	Corrupt       Code = 9  // a file or stream is damaged or foreign
	Busy          Code = 10 // a limit on work at once was hit; try again
	Leaving       Code = 11 // this server is on its way out; ask another
	Unsupported   Code = 12 // Praetor does not have this
	Resubmit      Code = 13 // nothing was done; send the whole request again
	Conflict      Code = 14 // the current state forbids it
	Unreachable   Code = 15 // no server could be reached; nothing was done
	Fenced        Code = 16 // the lock that the write depends on is not held any more; nothing was done
	DiskFull      Code = 17 // the leader is short of disk space; nothing was done
	Quarantined   Code = 18 // this server's state differs from that of the others; ask another
)

// Error is an error that a caller can act on.
type Error struct {
	Code Code
	Text string
}

// Error returns the text alone, which is what Consul's clients expect to see.
func (e *Error) Error() string { return e.Text }

// Errorf returns an error with a code. It does not wrap its arguments: what it
// says is final.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the first Error in err's chain. Any other error,
// and nil, is Internal.
func CodeOf(err error) Code {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// IsCode reports whether err carries the code. It is false for a nil error.
func IsCode(err error, code Code) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && e.Code == code
}

// Texts that Consul's clients look for; ours look at the code.
var (
	ErrNoLeader     error = &Error{NoLeader, "No cluster leader"}
	ErrNotReady     error = &Error{NotReady, "Not ready to serve consistent reads"}
	ErrLeaving      error = &Error{Leaving, "No cluster leader: this server is leaving, ask another"}
	ErrNoPath       error = &Error{NoPath, "No path to datacenter"}
	ErrResubmit     error = &Error{Resubmit, "please resubmit call for rechunking"}
	ErrStaleRestore error = &Error{Invalid, "stale not allowed for restore"}
)
