package agent

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// agentHost answers with what the operating system says of this machine, under
// the names that Consul uses. What a system does not tell stands in Errors.
func agentHost(c *exchange) error {
	var errs []string
	try := func(what string, v map[string]any, err error) map[string]any {
		if err != nil {
			errs = append(errs, fmt.Sprintf("%s: %v", what, err))
		}
		return v
	}
	memory, err := hostMemory()
	host := map[string]any{
		"CollectionTime": time.Now().UnixNano(),
		"Memory":         try("memory", memory, err),
		"CPU":            hostCPUs(),
	}
	self, err := hostSelf()
	host["Host"] = try("host", self, err)
	dir := c.config.DataDir
	if dir == "" {
		dir = os.TempDir()
	}
	disk, err := hostDisk(dir)
	host["Disk"] = try("disk", disk, err)
	host["Errors"] = errs
	return c.reply(host)
}

// hostMemory reads Linux's /proc/meminfo, which counts in KiB.
func hostMemory() (map[string]any, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	kib := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		kib[name], _ = strconv.ParseUint(number, 10, 64)
	}
	total, available := kib["MemTotal"]<<10, kib["MemAvailable"]<<10
	if total == 0 {
		return nil, fmt.Errorf("/proc/meminfo has no MemTotal")
	}
	used := total - available
	return map[string]any{
		"total": total, "available": available, "free": kib["MemFree"] << 10, "used": used,
		"usedPercent": 100 * float64(used) / float64(total),
		"buffers":     kib["Buffers"] << 10, "cached": kib["Cached"] << 10,
		"swapTotal": kib["SwapTotal"] << 10, "swapFree": kib["SwapFree"] << 10,
	}, nil
}

// hostCPUs names each processor; Linux also says of what make it is.
func hostCPUs() []map[string]any {
	cpus := make([]map[string]any, runtime.NumCPU())
	for i := range cpus {
		cpus[i] = map[string]any{"cpu": i, "cores": 1}
	}
	text, _ := os.ReadFile("/proc/cpuinfo")
	names := map[string]string{"model name": "modelName", "vendor_id": "vendorId", "cpu MHz": "mhz", "cache size": "cacheSize"}
	at := -1
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if name == "processor" {
			at++
		}
		if shown := names[name]; shown != "" && at >= 0 && at < len(cpus) {
			cpus[at][shown] = value
		}
	}
	return cpus
}

func hostSelf() (map[string]any, error) {
	name, err := os.Hostname()
	self := map[string]any{"hostname": name, "os": runtime.GOOS, "kernelArch": runtime.GOARCH}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		self["kernelVersion"] = strings.TrimSpace(string(release))
	}
	if text, err := os.ReadFile("/proc/uptime"); err == nil {
		first, _, _ := strings.Cut(string(text), " ")
		seconds, _ := strconv.ParseFloat(first, 64)
		self["uptime"] = uint64(seconds)
		self["bootTime"] = uint64(time.Now().Unix()) - uint64(seconds)
	}
	return self, err
}
