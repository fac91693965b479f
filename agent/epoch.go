package agent

import (
	"net/http"
	"sync/atomic"
)

// epochHeader has the last value of the header that there was. Replies share it.
type epochHeader struct{ last atomic.Pointer[[]string] }

// setEpoch tells a client which epoch the reply is from. A read says that of
// what was read, everything else that of this server's state.
func (a *Agent) setEpoch(header http.Header, id string) {
	if id == "" {
		return
	}
	values := a.epoch.last.Load()
	if values == nil || (*values)[0] != id {
		values = &[]string{id}
		a.epoch.last.Store(values)
	}
	header["X-Praetor-Epoch"] = *values
}
