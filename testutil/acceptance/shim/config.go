package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// settings is the part of a configuration file that says where plain HTTP is served.
type settings struct {
	Addresses struct {
		HTTP string `json:"http"`
	} `json:"addresses"`
	Ports struct {
		HTTP int `json:"http"`
	} `json:"ports"`
}

// httpAddress is where an agent with these arguments is to serve plain HTTP. Only what the suite writes is understood:
// JSON files with a port for HTTP on loopback, or a unix socket.
func httpAddress(args []string) (network, address string, err error) {
	var s settings
	for i, arg := range args {
		name, path, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !strings.HasPrefix(arg, "-") || name != "config-file" {
			continue
		}
		if !given {
			if i+1 == len(args) {
				return "", "", errors.New("-config-file needs a value")
			}
			path = args[i+1]
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", "", err
		}
		if len(text) == 0 {
			continue // to be written later, for a reload
		}
		if err := json.Unmarshal(text, &s); err != nil { // a later file wins where it says something
			return "", "", fmt.Errorf("%s: %w", path, err)
		}
	}
	if path, ok := strings.CutPrefix(s.Addresses.HTTP, "unix://"); ok {
		return "unix", path, nil
	}
	if s.Addresses.HTTP != "" || s.Ports.HTTP == 0 {
		return "", "", fmt.Errorf("expected ports.http or a unix socket in the configuration files, got port %d at %q", s.Ports.HTTP, s.Addresses.HTTP)
	}
	return "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Ports.HTTP)), nil
}
