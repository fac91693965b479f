package main

import (
	"context"
	"fmt"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metrics "github.com/hashicorp/go-metrics/compat"
	"praetor/rpcserver"
	"praetor/rpcserver/client"
	"praetor/structs"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "server" {
		c := rpcserver.DefaultConfig()
		c.NodeName, c.NodeID, c.DataDir, c.Bootstrap = "a", "00000000-0000-0000-0000-000000000001", os.Args[2], true
		c.RPCPort, c.SerfPort = 28300, 28301
		_, err := rpcserver.New(c)
		if err != nil {
			panic(err)
		}
		m := metrics.NewInmemSink(time.Hour, 2*time.Hour)
		cfg := metrics.DefaultConfig("x")
		cfg.EnableRuntimeMetrics, cfg.EnableHostname = false, false
		metrics.NewGlobal(cfg, m)
		go func() {
			for range time.Tick(5 * time.Second) {
				for _, i := range m.Data() {
					for k, v := range i.Samples {
						if strings.Contains(k, "raft") {
							fmt.Println(k, v.Count, v.AggregateSample.Mean, v.Max)
						}
					}
					for k, v := range i.Gauges {
						fmt.Println(k, v.Value)
					}
				}
			}
		}()
		http.ListenAndServe("127.0.0.1:28500", nil)
	}
	dir, _ := os.MkdirTemp("", "scratch")
	defer os.RemoveAll(dir)
	cmd := exec.Command(os.Args[0], "server", dir)
	cmd.Stderr = os.Stderr
	cmd.Stdout = os.Stdout
	cmd.Start()
	defer cmd.Process.Kill()
	c, _ := client.New("127.0.0.1:28300")
	for c.KV().Put(context.Background(), "a", nil) != nil {
		time.Sleep(50 * time.Millisecond)
	}
	cpu := func() time.Duration {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		f := strings.Fields(string(text[strings.IndexByte(string(text), ')')+2:]))
		var u, s int64
		fmt.Sscan(f[11], &u)
		fmt.Sscan(f[12], &s)
		return time.Duration(u+s) * 10 * time.Millisecond
	}
	value := make([]byte, 256)
	for _, what := range []string{"put", "put", "put"} {
		var n atomic.Int64
		var wg sync.WaitGroup
		stop := time.Now().Add(4 * time.Second)
		start, cpu0 := time.Now(), cpu()
		if what == "put" && len(os.Args) > 1 && os.Args[1] == "prof" {
			go exec.Command("curl", "-s", "-o", "/tmp/srv.prof", "http://127.0.0.1:28500/debug/pprof/profile?seconds=3").Run()
		}
		for w := range 64 {
			wg.Go(func() {
				for i := w; time.Now().Before(stop); i += 64 {
					key := fmt.Sprintf("bench/key-%06d", i%10000)
					var err error
					if what == "put" {
						_, err = c.KV().Apply(context.Background(), structs.KVSet, structs.DirEntry{Key: key, Value: value, Flags: uint64(i)})
					} else {
						_, _, err = c.KV().Get(context.Background(), key, nil)
					}
					if err != nil {
						fmt.Println(err)
						return
					}
					n.Add(1)
				}
			})
		}
		wg.Wait()
		took := time.Since(start)
		fmt.Printf("%s %.0f/s, server CPU %.1f us/op\n", what, float64(n.Load())/took.Seconds(), float64((cpu()-cpu0).Microseconds())/float64(n.Load()))
	}
}
