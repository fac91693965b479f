package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/syslog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"praetor/agent/config"
)

// newLogger returns a logger whose lines look like Consul's. Its level can be
// changed, and its lines be watched by others besides out.
func newLogger(c config.Logging, out io.Writer) hclog.InterceptLogger {
	return hclog.NewInterceptLogger(&hclog.LoggerOptions{
		Name: "agent", Level: hclog.LevelFromString(c.Level), JSONFormat: c.JSON, Output: out,
	})
}

// logOutput writes log lines everywhere they shall go. That one of the places
// fails keeps no line from the others, and never stops the server.
type logOutput struct {
	main   io.Writer
	file   *logFile
	syslog *syslog.Writer
	json   bool
}

func newLogOutput(c config.Logging, main io.Writer) (*logOutput, error) {
	o := &logOutput{main: main, json: c.JSON}
	var err error
	if c.File != "" {
		if o.file, err = openLogFile(c); err != nil {
			return nil, fmt.Errorf("cannot log to %s (log_file, -log-file): %w", c.File, err)
		}
	}
	if c.Syslog {
		if o.syslog, err = syslog.New(facilities[c.SyslogFacility], "praetor"); err != nil {
			o.close()
			return nil, fmt.Errorf("cannot log to syslog (enable_syslog, -syslog): %w", err)
		}
	}
	return o, nil
}

var facilities = map[string]syslog.Priority{
	"KERN": syslog.LOG_KERN, "USER": syslog.LOG_USER, "MAIL": syslog.LOG_MAIL, "DAEMON": syslog.LOG_DAEMON,
	"AUTH": syslog.LOG_AUTH, "SYSLOG": syslog.LOG_SYSLOG, "LPR": syslog.LOG_LPR, "NEWS": syslog.LOG_NEWS,
	"UUCP": syslog.LOG_UUCP, "CRON": syslog.LOG_CRON, "AUTHPRIV": syslog.LOG_AUTHPRIV, "FTP": syslog.LOG_FTP,
	"LOCAL0": syslog.LOG_LOCAL0, "LOCAL1": syslog.LOG_LOCAL1, "LOCAL2": syslog.LOG_LOCAL2, "LOCAL3": syslog.LOG_LOCAL3,
	"LOCAL4": syslog.LOG_LOCAL4, "LOCAL5": syslog.LOG_LOCAL5, "LOCAL6": syslog.LOG_LOCAL6, "LOCAL7": syslog.LOG_LOCAL7,
}

// Write takes a line of unknown level.
func (o *logOutput) Write(line []byte) (int, error) { return o.LevelWrite(hclog.Info, line) }

// LevelWrite takes one line; hclog calls it.
func (o *logOutput) LevelWrite(level hclog.Level, line []byte) (int, error) {
	if o.main != nil {
		_, _ = o.main.Write(line)
	}
	if o.file != nil {
		_, _ = o.file.Write(line)
	}
	if o.syslog != nil {
		o.toSyslog(level, line)
	}
	return len(line), nil
}

// toSyslog leaves out the time, which syslog notes itself.
func (o *logOutput) toSyslog(level hclog.Level, line []byte) {
	if _, rest, ok := bytes.Cut(line, []byte(" ")); ok && !o.json {
		line = rest
	}
	text := string(line)
	switch level {
	case hclog.Error:
		_ = o.syslog.Err(text)
	case hclog.Warn:
		_ = o.syslog.Warning(text)
	case hclog.Info:
		_ = o.syslog.Info(text)
	default:
		_ = o.syslog.Debug(text)
	}
}

func (o *logOutput) close() {
	if o == nil {
		return
	}
	if o.file != nil {
		o.file.close()
	}
	if o.syslog != nil {
		o.syslog.Close()
	}
}

// logFile is a file that is put aside as name-TIME.ext when it has become too
// large or too old. (lumberjack knows sizes only, and leaves a goroutine behind.)
type logFile struct {
	path     string
	maxBytes int64         // 0: any size
	maxAge   time.Duration // since it was opened; 0: any age
	keep     int           // files put aside; 0 keeps all, -1 none
	now      func() time.Time

	mu     sync.Mutex // guards the fields below
	file   *os.File   // nil once closed
	size   int64
	opened time.Time
}

// openLogFile opens the file, which goes on where it ended. A path that is a
// directory, or ends like one, means praetor.log in it.
func openLogFile(c config.Logging) (*logFile, error) {
	path := c.File
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, "/") {
		path = filepath.Join(path, "praetor.log")
	}
	f := &logFile{path: path, maxBytes: int64(c.RotateBytes), maxAge: c.RotateDuration, keep: c.RotateMaxFiles, now: time.Now}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return f, f.open()
}

func (f *logFile) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.size, f.opened = file, info.Size(), f.now()
	return nil
}

// Write appends one line.
func (f *logFile) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return 0, os.ErrClosed
	}
	full := f.maxBytes > 0 && f.size > 0 && f.size+int64(len(line)) > f.maxBytes
	if old := f.maxAge > 0 && f.now().Sub(f.opened) >= f.maxAge; full || old && f.size > 0 {
		f.rotate()
	}
	n, err := f.file.Write(line)
	f.size += int64(n)
	return n, err
}

// rotate puts the file aside. If that fails, the old file goes on: lines are
// worth more than limits.
func (f *logFile) rotate() {
	ext := filepath.Ext(f.path)
	stem := strings.TrimSuffix(f.path, ext)
	aside := fmt.Sprintf("%s-%s%s", stem, f.now().UTC().Format("20060102T150405.000000000"), ext)
	before := f.file
	if os.Rename(f.path, aside) != nil {
		f.opened = f.now() // try again later, not with every line
		f.size = 0
		return
	}
	if f.open() != nil {
		return
	}
	before.Close()
	if f.keep == 0 {
		return
	}
	old, _ := filepath.Glob(globSafe(stem) + "-[0-9]*T[0-9]*.[0-9]*" + globSafe(ext))
	slices.Sort(old) // by time
	for _, name := range old[:max(0, len(old)-max(f.keep, 0))] {
		_ = os.Remove(name)
	}
}

// globSafe makes a path a pattern that matches only itself.
func globSafe(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func (f *logFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return errors.New("log file is closed")
	}
	err := f.file.Close()
	f.file = nil
	return err
}
