//go:build !linux

package agent

import "net"

// hangups is for Linux: elsewhere a client that hangs up is noticed by reading.
type hangups struct{}

func (*hangups) watch(net.Conn, func()) (forget func(), ok bool) { return nil, false }

func (*hangups) close() {}
