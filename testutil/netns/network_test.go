//go:build linux

package netns_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"praetor/testutil/netns"
)

// ping asks a host n times for a connection to a port that nobody listens on,
// and counts the refusals.
func ping(t *testing.T, to *netns.Host, n int) (back int, slowest time.Duration) {
	t.Helper()
	for range n {
		start := time.Now()
		_, err := net.DialTimeout("tcp", fmt.Sprintf("%v:9", to.Addr), 700*time.Millisecond) // a lost SYN is sent again after 1 s
		if errors.Is(err, syscall.ECONNREFUSED) {
			back++
			slowest = max(slowest, time.Since(start))
		}
	}
	return back, slowest
}

func TestLinks(t *testing.T) {
	t.Parallel()
	n := netns.NewNetwork(t, 1)
	a, b := n.Host(), n.Host()
	if back, _ := ping(t, a, 5); back != 5 {
		t.Fatalf("%d of 5 came back over a good link", back)
	}
	n.SetLink(a, n.Outside, netns.Link{Cut: true})
	if back, _ := ping(t, a, 1); back != 0 {
		t.Errorf("%d came back over a link that is cut one way", back)
	}
	if back, _ := ping(t, b, 5); back != 5 {
		t.Errorf("%d of 5 came back from the other host", back)
	}
	n.Heal()
	n.SetLink(n.Outside, a, netns.Link{Delay: 100 * time.Millisecond, Vary: 50 * time.Millisecond})
	if back, slowest := ping(t, a, 3); back != 3 || slowest < 100*time.Millisecond {
		t.Errorf("%d of 3 came back over a slow link, after %v", back, slowest)
	}
	n.Heal()
	n.SetLink(n.Outside, a, netns.Link{Loss: 0.5})
	tried, back := 0, 0
	for tried < 40 && (back == 0 || back == tried) { // which ones are lost depends on what else the kernel sends
		came, _ := ping(t, a, 1)
		tried, back = tried+1, back+came
	}
	if back == 0 || back == tried {
		t.Errorf("%d of %d came back over a lossy link", back, tried)
	}
	n.Heal()
	n.Isolate(a)
	if back, _ := ping(t, a, 1); back != 0 {
		t.Error("an isolated host answers")
	}
	n.Heal()
	if back, _ := ping(t, a, 5); back != 5 {
		t.Errorf("%d of 5 came back over a healed link", back)
	}
}

// A test that is killed leaves its namespaces and mounts to the next one.
func TestLeftoversAreSwept(t *testing.T) {
	if os.Getenv("PRAETOR_LEAVE_BEHIND") != "" {
		netns.NewNetwork(t, 1).Host()
		netns.NewTmpfs(t, 1<<20)
		netns.NewDurable(t, 32<<20)
		os.Exit(0) // no cleanup
	}
	netns.Require(t)
	child := exec.Command(os.Args[0], "-test.run=^TestLeftoversAreSwept$")
	child.Env = append(os.Environ(), "PRAETOR_LEAVE_BEHIND=1")
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mine := fmt.Sprintf("praetor-test-%d-", child.Process.Pid)
	if got := leftovers(t, mine); len(got) < 5 {
		t.Fatalf("only %q was left behind, so this shows nothing", got)
	}
	netns.Sweep()
	if got := leftovers(t, mine); len(got) > 0 {
		t.Errorf("left behind and not swept: %q", got)
	}
}

func leftovers(t *testing.T, prefix string) (found []string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(mounts), "\n") {
		if fields := strings.Fields(line); len(fields) > 2 && strings.Contains(fields[1], prefix) {
			found = append(found, fields[1])
		}
	}
	for _, dir := range []string{"/run/netns", os.TempDir()} {
		entries, _ := os.ReadDir(dir)
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), prefix) {
				found = append(found, entry.Name())
			}
		}
	}
	return found
}
