package peers

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"praetor/testutil"
	"praetor/testutil/bench"
)

// etcd is a server of etcd, a process of its own, with its defaults.
type etcd struct {
	tb   testing.TB
	args []string
	cmd  *exec.Cmd
	done chan struct{}
	out  bytes.Buffer // not to be read while it runs
	addr string       // host:port for clients
}

// newEtcds prepares a new cluster of n servers. They are killed when the test ends.
func newEtcds(tb testing.TB, n int) []*etcd {
	tb.Helper()
	ports := testutil.FreePorts(tb, 2*n)
	var cluster []string
	for i := range n {
		cluster = append(cluster, fmt.Sprintf("s%d=http://127.0.0.1:%d", i, ports[2*i+1]))
	}
	servers := make([]*etcd, n)
	for i := range servers {
		client, peer := fmt.Sprintf("127.0.0.1:%d", ports[2*i]), fmt.Sprintf("http://127.0.0.1:%d", ports[2*i+1])
		e := &etcd{tb: tb, addr: client, args: []string{
			"--name=s" + fmt.Sprint(i), "--data-dir=" + filepath.Join(tb.TempDir(), "etcd"),
			"--listen-client-urls=http://" + client, "--advertise-client-urls=http://" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=" + strings.Join(cluster, ","), "--logger=zap", "--log-level=error",
		}}
		tb.Cleanup(func() {
			e.kill()
			if tb.Failed() {
				tb.Logf("output of etcd at %s:\n%s", e.addr, e.out.String())
			}
		})
		servers[i] = e
	}
	return servers
}

// etcdBinary is the etcd on the path, or the one that ETCD names.
func etcdBinary() string {
	if path := os.Getenv("ETCD"); path != "" {
		return path
	}
	return "etcd"
}

// start starts the server, and waits for nothing.
func (e *etcd) start() {
	e.tb.Helper()
	e.cmd = exec.Command(etcdBinary(), e.args...)
	// Variables of the name would set its flags.
	e.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ETCD_") })
	e.cmd.Stdout, e.cmd.Stderr = &e.out, &e.out
	if err := e.cmd.Start(); err != nil {
		e.tb.Fatal(err)
	}
	e.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		cmd.Wait()
		close(done)
	}(e.cmd, e.done)
}

func (e *etcd) pid() int { return e.cmd.Process.Pid }

// kill is kill -9, and waits until the process is gone.
func (e *etcd) kill() {
	if e.cmd != nil {
		e.cmd.Process.Signal(syscall.SIGKILL)
		<-e.done
	}
}

// await waits until the server answers a linearizable read.
func (e *etcd) await() {
	e.tb.Helper()
	c := e.client()
	testutil.Eventually(e.tb, 30*time.Second, "etcd", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := c.Get(ctx, "any")
		return err
	})
}

// client is a client with one connection to this server. It waits until something listens: gRPC would try again only
// after a second.
func (e *etcd) client() *clientv3.Client {
	e.tb.Helper()
	testutil.Eventually(e.tb, 30*time.Second, "etcd's port", func() error {
		conn, err := net.Dial("tcp", e.addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + e.addr}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		e.tb.Fatal(err)
	}
	e.tb.Cleanup(func() { c.Close() })
	return c
}

// etcdClients are a client of each server. All callers of a server share its connection, which is the best for etcd:
// with 64 connections instead of one, a put cost its server 125 µs of CPU and not 74, and the client 93 and not 53.
func etcdClients(servers []*etcd) (clients []*clientv3.Client) {
	for _, e := range servers {
		clients = append(clients, e.client())
	}
	return clients
}

// etcdPut puts keys; callers take the clients in turn.
func etcdPut(clients []*clientv3.Client) bench.Op {
	value := string(bench.Value)
	return func(caller, i int) error {
		_, err := clients[caller%len(clients)].Put(context.Background(), bench.KeyName(i), value)
		return err
	}
}

// etcdGet reads keys, linearizable without options; callers take the clients in turn.
func etcdGet(clients []*clientv3.Client, opts ...clientv3.OpOption) bench.Op {
	return func(caller, i int) error {
		_, err := clients[caller%len(clients)].Get(context.Background(), bench.KeyName(i), opts...)
		return err
	}
}
