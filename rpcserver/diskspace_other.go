//go:build !linux && !darwin

package rpcserver

import "errors"

func diskFree(string) (uint64, error) { return 0, errors.New("not known on this system") }
