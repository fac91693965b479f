package agent

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangups tells when clients hang up that nobody reads from meanwhile. To find out
// by reading takes a goroutine for each, beside the one that waits for an answer:
// of 10,000 waiters that was a seventh of the memory, and a fifth of the CPU to tell
// them something (docs/performance.md). The zero value is ready for use.
type hangups struct {
	mu    sync.Mutex // guards the fields below
	epoll *os.File   // the connections; nil before there is one
	conns map[uint64]func()
	last  uint64 // number of a connection
}

// watch has gone called once, if the client hangs up before forget is called. It
// reports false for a connection that is not one of the kernel's.
func (h *hangups) watch(conn net.Conn, gone func()) (forget func(), ok bool) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil, false
	}
	raw, err := socket.SyscallConn()
	if err != nil || h.open() != nil {
		return nil, false
	}
	h.mu.Lock()
	h.last++
	number := h.last
	h.conns[number] = gone
	h.mu.Unlock()
	forget = func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.conns, number)
	}
	event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(number), Pad: int32(number >> 32)}
	failed := raw.Control(func(fd uintptr) {
		err = h.control(func(epoll int) error { return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(fd), &event) })
	})
	if failed != nil || err != nil {
		forget()
		return nil, false
	}
	return forget, true
}

// open sees that the kernel is asked.
func (h *hangups) open() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epoll != nil {
		return nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that Go waits for it as for a socket
		return errors.Join(err, unix.Close(fd))
	}
	h.epoll, h.conns = os.NewFile(uintptr(fd), "hangups"), map[uint64]func(){}
	go h.listen(h.epoll)
	return nil
}

// control does something to the epoll descriptor.
func (h *hangups) control(do func(fd int) error) (err error) {
	raw, err := h.epoll.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) { err = do(int(fd)) })
	if failed != nil {
		return failed
	}
	return err
}

// listen takes what the kernel tells until close is called.
func (h *hangups) listen(epoll *os.File) {
	raw, err := epoll.SyscallConn()
	events := make([]unix.EpollEvent, 128)
	for err == nil {
		n := 0
		err = raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0) // interrupted, it is asked again
			return n > 0
		})
		for _, e := range events[:max(n, 0)] {
			h.mu.Lock()
			gone := h.conns[uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32]
			h.mu.Unlock()
			if gone != nil {
				gone()
			}
		}
	}
}

// close ends it.
func (h *hangups) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epoll != nil {
		h.epoll.Close()
	}
}
