//go:build linux || darwin

package rpcserver

import "syscall"

// diskFree is how many bytes we may still write to the file system of a directory.
func diskFree(dir string) (uint64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}
