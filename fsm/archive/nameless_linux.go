package archive

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// createNameless creates a file in dir that has no name. File systems that cannot do it say so.
func createNameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "a nameless file in "+dir), nil
}

// linkNameless gives such a file a name. An ordinary user may do it by the name under which /proc has it.
func linkNameless(file *os.File, name string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", file.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
}
