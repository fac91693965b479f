//go:build !linux

package agent

import "errors"

func hostDisk(string) (map[string]any, error) {
	return nil, errors.New("not known on this system")
}
