package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/syslog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"praetor/agent/config"
	"praetor/structs"
)

func TestLogLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := newLogger(config.Logging{Level: "INFO"}, &out)
	logger.Named("server").Info("hello", "k", "v")
	if want := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4}) \[INFO\]  agent\.server: hello: k=v\n$`); !want.Match(out.Bytes()) {
		t.Errorf("got %q", &out)
	}
	out.Reset()
	sub := logger.Named("server")
	logger.SetLevel(1)
	sub.Trace("now heard")
	if out.Len() == 0 {
		t.Error("a new level does not reach loggers that are there already")
	}

	out.Reset()
	newLogger(config.Logging{Level: "INFO", JSON: true}, &out).Info("hello")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["@message"] != "hello" || line["@module"] != "agent" {
		t.Errorf("got %q, %v", &out, err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestLogFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		c     config.Logging
		aside []string // content of the files put aside, oldest first
		last  string
	}{
		{"no limits", config.Logging{}, nil, "aaaabbbbccccdddd"},
		{"size", config.Logging{RotateBytes: 8}, []string{"aaaabbbb"}, "ccccdddd"},
		{"small size", config.Logging{RotateBytes: 1}, []string{"aaaa", "bbbb", "cccc"}, "dddd"},
		{"time", config.Logging{RotateDuration: 2 * time.Hour}, []string{"aaaabbbb"}, "ccccdddd"},
		{"keep one", config.Logging{RotateBytes: 4, RotateMaxFiles: 1}, []string{"cccc"}, "dddd"},
		{"keep none", config.Logging{RotateBytes: 4, RotateMaxFiles: -1}, nil, "dddd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/[x]/logs/"
			tt.c.File = dir
			f, err := openLogFile(tt.c)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
			f.opened, f.now = now, func() time.Time { return now }
			o := &logOutput{main: brokenWriter{}, file: f}
			for _, line := range []string{"aaaa", "bbbb", "cccc", "dddd"} {
				o.Write([]byte(line))
				now = now.Add(time.Hour)
			}
			o.close()
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var aside []string
			last := ""
			for _, e := range entries {
				text, _ := os.ReadFile(filepath.Join(dir, e.Name()))
				if e.Name() == "praetor.log" {
					last = string(text)
				} else {
					aside = append(aside, string(text))
				}
			}
			if !slices.Equal(aside, tt.aside) || last != tt.last {
				t.Errorf("got %q and %q, want %q and %q", aside, last, tt.aside, tt.last)
			}
		})
	}
}

func TestLogFileGoesOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "my.log")
	for _, line := range []string{"one\n", "two\n"} {
		o, err := newLogOutput(config.Logging{File: path, RotateDuration: time.Hour}, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Write([]byte(line))
		o.close()
	}
	if text, err := os.ReadFile(path); string(text) != "one\ntwo\n" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestSyslog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "syslog")
	conn, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w, err := syslog.Dial("unixgram", path, facilities["LOCAL3"], "praetor")
	if err != nil {
		t.Fatal(err)
	}
	o := &logOutput{syslog: w}
	defer o.close()
	newLogger(config.Logging{Level: "INFO"}, o).Warn("hello", "k", "v")
	packet := make([]byte, 1000)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, _, err := conn.ReadFrom(packet)
	got := string(packet[:n])
	// The priority is facility 19 times 8, plus severity 4.
	if err != nil || !strings.HasPrefix(got, "<156>") || !strings.Contains(got, ": [WARN]  agent: hello: k=v") {
		t.Errorf("got %q, %v", got, err)
	}
}

// Every key that the table of the configuration marks as live is taken over,
// and no other.
func TestTakeOverIsWhatTheTableSays(t *testing.T) {
	t.Parallel()
	before, after := &config.Runtime{}, &config.Runtime{
		NodeName: "x", Logging: config.Logging{Level: "WARN", JSON: true},
		Raft: config.Raft{SnapshotThreshold: 1, SnapshotInterval: 2, TrailingLogs: 3, HeartbeatTimeout: 4, NoFreelistSync: true},
		Limits: config.Limits{HTTPMaxConnsPerClient: 1, HTTPSHandshakeTimeout: 2, RPCMaxConnsPerClient: 3,
			RPCHandshakeTimeout: 4, RPCClientTimeout: 5, KVMaxValueSize: 6, TxnMaxReqLen: 7, TxnMaxOps: 8, WatchHistorySize: 9, DiskReserveMB: 10},
		Services: []*structs.ServiceDefinition{{Name: "a"}}, NodeChecks: []*structs.CheckDefinition{{Name: "b"}},
		Checks:     config.Checks{OutputMaxSize: 1, UpdateInterval: 2, DiscardOutput: true},
		HTTPConfig: config.HTTPConfig{ResponseHeaders: map[string]string{"a": "b"}, MaxHeaderBytes: 9},
		Telemetry:  config.Telemetry{PrefixFilter: []string{"+a"}, FilterDefault: true, MetricsPrefix: "p"},
	}
	live, refused := config.Reloadable(before, after)
	if len(live) < 21 || len(refused) == 0 {
		t.Fatalf("got live %q, refused %q", live, refused)
	}
	merged := takeOver(before, after)
	if left, _ := config.Reloadable(merged, after); len(left) > 0 {
		t.Errorf("not taken over: %q", left)
	}
	if _, taken := config.Reloadable(before, merged); len(taken) > 0 {
		t.Errorf("taken over although they need a restart: %q", taken)
	}
}
