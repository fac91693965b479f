//go:build linux

package netns

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// openTUN makes a network device whose packets are read from and written to
// the file, as IPv4 and without any header before it. It goes with the file.
func openTUN(name string) (*os.File, error) {
	// Not blocking, so that a Close ends a Read.
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	const setInterface, isTUN, noHeader = 0x400454ca, 0x0001, 0x1000 // TUNSETIFF, IFF_TUN, IFF_NO_PI
	request := struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: isTUN | noHeader}
	copy(request.name[:15], name)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), setInterface, uintptr(unsafe.Pointer(&request))); errno != 0 {
		syscall.Close(fd)
		return nil, fmt.Errorf("make the network device %s: %w", name, errno)
	}
	return os.NewFile(uintptr(fd), name), nil
}
