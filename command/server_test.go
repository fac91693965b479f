package command_test

import (
	"flag"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"praetor/agent"
	"praetor/agent/config"
)

// newServer starts a real server in memory and makes it the one that commands
// talk to, with more flags. With -dev its election takes well under a second.
func newServer(t *testing.T, more ...string) {
	t.Helper()
	ports := make([]string, 3)
	var listeners []net.Listener
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		listeners = append(listeners, l)
	}
	for _, l := range listeners { // only now, so that the ports differ
		_ = l.Close()
	}
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	flags := config.AddFlags(fs)
	if err := fs.Parse(append([]string{"-dev", "-node=one", "-http-port=" + ports[0], "-server-port=" + ports[1], "-serf-lan-port=" + ports[2]}, more...)); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(flags)
	if err != nil {
		t.Fatal(err)
	}
	load := func() (*config.Runtime, []string, error) { return config.Load(flags) }
	a, err := agent.New(cfg, agent.Options{LogOutput: io.Discard, Load: load})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("PRAETOR_HTTP_ADDR", a.HTTPAddrs()[0])
	for range 100 {
		if out := run(t, "operator", "raft", "list-peers"); strings.Contains(out, "leader") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("no leader")
}

// TestAgainstAServer goes once through what an operator does, without a fake.
func TestAgainstAServer(t *testing.T) {
	newServer(t)
	workspace(t)
	for _, step := range []struct{ command, want string }{
		{"members", " alive   server  " + agent.Version + "  2         dc1  default    <all>\n"},
		{"info", "raft:\n\tapplied_index = "},
		{"kv put app/limit 25", "Success! Data written to: app/limit\n"},
		{"kv put -cas app/limit 26", "key already exists.\n(exit 1)\n"},
		{"kv get app/limit", "25\n"},
		{"kv list", "app/\n"},
		{"snapshot save before.snap", "Saved and verified snapshot to index "},
		{"snapshot restore consul.snap", "Restored snapshot\n"},
		{"kv list -recurse locks", "locks/a\nlocks/b\nlocks/c\n"},
		{"kv import -prefix=copy @two.json", "Imported: copy/b\nImported: copy/a\n"},
		{"kv get -recurse copy", "copy/a:\ncopy/b:2\n"},
		{"kv delete -recurse", "Success! Deleted keys with prefix: \n"},
		{"kv list", ""},
		{"snapshot restore flipped.snap", "(exit 1)\n"},
		{"snapshot restore before.snap", "Restored snapshot\n"},
		{"kv get app/limit", "25\n"},
		{"operator autopilot set-config -min-quorum=3", "Configuration updated!\n"},
		{"operator autopilot get-config", "MinQuorum = 3\n"},
		{"operator raft promote-peer -id=nobody", `id "nobody" was not found in the Raft configuration`},
		{"operator raft add-peer -id=x -address=nonsense", `address "nonsense" is not ip:port`},
		{"operator raft transfer-leader", "Failed to transfer leadership"},
		{"force-leave nobody", "No node found with name 'nobody'"},
		{"reload", "Configuration reload triggered\n"},
		{"monitor -log-level=zz", "Unknown log level: zz"},
		{"join 127.0.0.1:1", "! Failed to join any nodes.\n(exit 1)\n"},
		{"leave", "Graceful leave complete\n"},
	} {
		got := run(t, split(step.command)...)
		if !strings.Contains(got, step.want) || step.want == "" && got != "" {
			t.Errorf("praetor %s printed\n%s\nwithout %q", step.command, got, step.want)
		}
	}
}
