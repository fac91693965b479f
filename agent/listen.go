package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"praetor/agent/config"
)

const (
	headerTime = 30 * time.Second // for the head of a request; what it then waits for is its own business
	idleTime   = 2 * time.Minute  // between two requests
	closeTime  = 3 * time.Second  // for requests under way when the agent stops
)

// httpServer serves the API at all its addresses.
type httpServer struct {
	server    *http.Server
	keys      *keyServer
	listeners []*apiListener
	cancel    context.CancelFunc // ends requests
	serving   sync.WaitGroup
}

// listen opens every address that HTTP and HTTPS shall be served at.
func (a *Agent) listen() (*httpServer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	h := &httpServer{cancel: cancel}
	h.server = newHTTPServer(ctx, a.config.HTTPConfig.MaxHeaderBytes, a.logger.Named("http"))
	h.server.TLSConfig = a.webTLS.incoming([]string{"h2", "http/1.1"}, func(hello *tls.ClientHelloInfo) {
		hello.Conn.(*apiConn).trusted()
	})
	h.keys = newKeyServer(ctx, a.logger.Named("http"))
	conns := &connCounts{by: map[string]int{}}
	for _, at := range []struct {
		key   string
		port  int
		addrs []string
		tls   *tls.Config
	}{
		{"http", a.config.Ports.HTTP, a.config.Addresses.HTTP, nil},
		{"https", a.config.Ports.HTTPS, a.config.Addresses.HTTPS, h.server.TLSConfig},
	} {
		if at.port < 0 {
			continue
		}
		if at.key == "https" && at.tls == nil {
			a.options.Warnings = slices.Concat(a.options.Warnings, []string{"HTTPS is off: ports.https needs tls.https.cert_file and key_file"})
			continue
		}
		for _, addr := range at.addrs {
			l, err := a.listenAt(at.key, addr, at.port)
			if err != nil {
				h.close()
				return nil, err
			}
			h.listeners = append(h.listeners, &apiListener{Listener: l, scheme: at.key, secure: at.tls != nil, settings: a.settings, conns: conns})
		}
	}
	return h, nil
}

func newHTTPServer(ctx context.Context, maxHeaderBytes int, logger hclog.Logger) *http.Server {
	return &http.Server{
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
	}
}

// listenAt listens at an IP and port, or at "unix:///path".
func (a *Agent) listenAt(key, addr string, port int) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		l, err := listenUnix(path, a.config.UnixSockets)
		if err != nil {
			return nil, fmt.Errorf("cannot listen on %s (addresses.%s): %w", addr, key, err)
		}
		return l, nil
	}
	full := net.JoinHostPort(addr, strconv.Itoa(port))
	l, err := net.Listen("tcp", full)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %d at %s is in use by another process: stop it, or change ports.%s (-%s-port)", port, addr, key, key)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("cannot listen on %s: this machine has no address %s; change client_addr (-client) or addresses.%s", full, addr, key)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s (ports.%s, -%s-port): %w", full, key, key, err)
	}
	return l, nil
}

// listenUnix makes a socket, in place of one that nobody listens at any more.
func listenUnix(path string, c config.UnixSockets) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, errors.New("there is a file that is not a socket: move it away")
	default:
		if conn, err := net.DialTimeout("unix", path, time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				conn.Close()
			}
			return nil, errors.New("another process listens there: stop it, or choose another path")
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := own(path, c); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// own gives a socket its owner and mode.
func own(path string, c config.UnixSockets) error {
	uid, gid := -1, -1
	var err error
	if c.User != "" {
		if uid, err = strconv.Atoi(c.User); err != nil {
			u, err := user.Lookup(c.User)
			if err != nil {
				return fmt.Errorf("unix_sockets.user: %w", err)
			}
			uid, _ = strconv.Atoi(u.Uid)
		}
	}
	if c.Group != "" {
		if gid, err = strconv.Atoi(c.Group); err != nil {
			g, err := user.LookupGroup(c.Group)
			if err != nil {
				return fmt.Errorf("unix_sockets.group: %w", err)
			}
			gid, _ = strconv.Atoi(g.Gid)
		}
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Chown(path, uid, gid); err != nil {
			return fmt.Errorf("unix_sockets.user and group: %w", err)
		}
	}
	if c.Mode == "" {
		return nil
	}
	mode, err := strconv.ParseUint(c.Mode, 8, 32)
	if err != nil {
		return fmt.Errorf("unix_sockets.mode: %w", err)
	}
	return os.Chmod(path, fs.FileMode(mode))
}

// urls are the addresses that are served.
func (h *httpServer) urls() []string {
	var all []string
	for _, l := range h.listeners {
		if addr := l.Addr(); addr.Network() == "unix" {
			all = append(all, "unix://"+addr.String())
		} else {
			all = append(all, l.scheme+"://"+addr.String())
		}
	}
	return all
}

// serve answers requests until stopAccepting.
func (h *httpServer) serve(handler http.Handler) {
	h.server.Handler, h.keys.handler = handler, handler
	go func() { _ = h.server.Serve(h.keys.others) }() // until close
	for _, l := range h.listeners {
		h.serving.Go(func() {
			serve := h.keys.accept
			if l.secure {
				serve = func(l net.Listener) error { return h.server.ServeTLS(l, "", "") }
			}
			if err := serve(l); !errors.Is(err, net.ErrClosed) {
				h.server.ErrorLog.Printf("no longer serving %s: %v", l.Addr(), err)
			}
		})
	}
}

// stopAccepting lets nobody in any more.
func (h *httpServer) stopAccepting() {
	if h == nil {
		return
	}
	for _, l := range h.listeners {
		l.Close()
	}
	h.serving.Wait()
}

// close ends the requests under way; they have a moment to say so.
func (h *httpServer) close() {
	if h == nil {
		return
	}
	h.stopAccepting()
	h.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	h.keys.stop(ctx)
	if h.server.Shutdown(ctx) != nil {
		h.server.Close()
	}
}
