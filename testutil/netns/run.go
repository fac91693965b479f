//go:build linux

package netns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// prefix begins the name of everything this package makes; the process id of
// the test follows it.
const prefix = "praetor-test-"

// sh runs a program that must succeed.
func sh(program string, args ...string) error {
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// able finds out whether namespaces, devices and mounts can be made here, and
// clears away what tests have left that were killed.
var able = sync.OnceValue(func() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("only root can make network namespaces")
	}
	for _, program := range []string{"ip", "nsenter", "mount", "umount", "mkfs.ext4"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	sweep()
	name := fmt.Sprint(prefix, os.Getpid(), "-try")
	if err := sh("ip", "netns", "add", name); err != nil {
		return err
	}
	defer sh("ip", "netns", "del", name)
	device, err := openTUN(fmt.Sprint("pr", os.Getpid(), "-t"))
	if err != nil {
		return err
	}
	defer device.Close()
	dir, err := os.MkdirTemp("", fmt.Sprint(prefix, os.Getpid(), "-try-"))
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "image")
	if err := makeImage(image, 16<<20); err != nil {
		return err
	}
	mounted := filepath.Join(dir, "mounted")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		return err
	}
	if err := mountImage(image, mounted); err != nil {
		return err
	}
	return sh("umount", mounted)
})

// Require skips the test, with the reason, where this machine does not allow
// what the package does.
func Require(t testing.TB) {
	t.Helper()
	if err := able(); err != nil {
		t.Skipf("servers in network namespaces cannot run here: %v", err)
	}
}

// sweep takes away what was made by processes that are gone: servers first,
// which keep the rest busy, then mounts, namespaces and files. Devices have gone
// with their process.
func sweep() {
	names, _ := os.ReadDir("/run/netns")
	for _, entry := range names {
		if !orphan(entry.Name()) {
			continue
		}
		pids, _ := exec.Command("ip", "netns", "pids", entry.Name()).Output()
		for field := range strings.FieldsSeq(string(pids)) {
			if pid, err := strconv.Atoi(field); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		sh("ip", "netns", "del", entry.Name())
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.SplitSeq(string(mounts), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && orphan(filepath.Base(filepath.Dir(fields[1]))) {
			sh("umount", "--lazy", fields[1])
		}
	}
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range dirs {
		if orphan(filepath.Base(dir)) {
			os.RemoveAll(dir)
		}
	}
}

// orphan reports whether something of this name was made by a process that is
// gone.
func orphan(name string) bool {
	rest, ours := strings.CutPrefix(name, prefix)
	pid, err := strconv.Atoi(strings.Split(rest, "-")[0])
	return ours && err == nil && syscall.Kill(pid, 0) == syscall.ESRCH
}
