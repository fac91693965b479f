package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestHTTPAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	port := file("port.json", `{"node_name":"a","addresses":{},"ports":{"http":1234,"dns":1}}`)
	another := file("another.json", `{"ports":{"http":5678}}`)
	socket := file("socket.json", `{"addresses":{"http":"unix:///tmp/a.sock"},"ports":{"http":1234}}`)
	service := file("service.json", `{"service":{"name":"redis"}}`)
	elsewhere := file("elsewhere.json", `{"addresses":{"http":"10.0.0.1"},"ports":{"http":1234}}`)
	empty := file("empty.json", "")
	broken := file("broken.json", `{`)
	for _, tt := range []struct {
		args []string
		want string // empty: an error
	}{
		{[]string{"agent", "-config-file", port}, "tcp 127.0.0.1:1234"},
		{[]string{"agent", "--config-file=" + port}, "tcp 127.0.0.1:1234"},
		{[]string{"agent", "-config-file", port, "-config-file", service}, "tcp 127.0.0.1:1234"},
		{[]string{"agent", "-config-file", port, "-config-file", empty}, "tcp 127.0.0.1:1234"},
		{[]string{"agent", "-config-file", port, "-config-file", another}, "tcp 127.0.0.1:5678"},
		{[]string{"agent", "-config-file", socket}, "unix /tmp/a.sock"},
		{[]string{"agent", "-config-file", service}, ""},
		{[]string{"agent", "-config-file", elsewhere}, ""},
		{[]string{"agent", "-config-file", broken}, ""},
		{[]string{"agent", "-config-file", filepath.Join(dir, "none")}, ""},
		{[]string{"agent", "-config-file"}, ""},
		{[]string{"agent", "-dev"}, ""},
	} {
		network, address, err := httpAddress(tt.args)
		got := network + " " + address
		if err != nil {
			got = ""
		}
		if got != tt.want {
			t.Errorf("%v: got %q, %v; want %q", tt.args, got, err, tt.want)
		}
	}
}
