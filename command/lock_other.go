//go:build !linux

package command

import "syscall"

// endWithUs does nothing: only Linux kills a program when its parent is killed.
func endWithUs(*syscall.SysProcAttr) {}
