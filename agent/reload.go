package agent

import (
	"fmt"

	"github.com/hashicorp/go-hclog"

	"praetor/agent/config"
	"praetor/structs"
)

// Reload reads the configuration and the TLS files again and puts into force
// what can change while the agent runs; of everything else that has changed it
// warns. If anything is wrong with the new ones, the old ones all stay.
func (a *Agent) Reload() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	err := a.reload()
	if err != nil {
		a.logger.Error("reload refused, nothing has changed", "error", err)
	}
	return err
}

func (a *Agent) reload() error {
	if a.options.Load == nil {
		return structs.Errorf(structs.Unsupported, "this agent was not started from a configuration that it could load again")
	}
	next, warnings, err := a.options.Load()
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	for _, w := range warnings {
		a.logger.Warn(w)
	}
	if next.NodeID == "" {
		next.NodeID = a.config.NodeID // the data directory's
	}
	rpcFiles, err := a.rpcTLS.read()
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	webFiles, err := a.webTLS.read()
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	merged := takeOver(a.settings(), next)
	raft := merged.Raft
	if err := a.server.Reload(uint64(raft.SnapshotThreshold), raft.SnapshotInterval, uint64(raft.TrailingLogs)); err != nil {
		return fmt.Errorf("reload: raft settings: %w", err)
	}

	// Nothing fails from here on.
	changed, refused := config.Reloadable(a.settings(), next)
	a.rpcTLS.files.Store(rpcFiles)
	a.webTLS.files.Store(webFiles)
	a.server.SetLimits(serverLimits(merged.Limits))
	a.metrics.reload(merged.Telemetry)
	a.logger.SetLevel(hclog.LevelFromString(merged.Logging.Level))
	a.live.Store(merged)
	a.local.configure(merged.Services, merged.NodeChecks)
	for _, key := range refused {
		a.logger.Warn("a changed setting waits for a restart", "key", key)
	}
	a.logger.Info("configuration reloaded", "changed", changed)
	return nil
}

// takeOver returns the settings with those of next that can change while the
// agent runs: the keys that the table in config marks live, no more and no less.
func takeOver(settings, next *config.Runtime) *config.Runtime {
	r := *settings
	r.Logging.Level = next.Logging.Level
	r.Raft.SnapshotThreshold = next.Raft.SnapshotThreshold
	r.Raft.SnapshotInterval = next.Raft.SnapshotInterval
	r.Raft.TrailingLogs = next.Raft.TrailingLogs
	r.Limits = next.Limits
	r.Services, r.NodeChecks, r.Checks = next.Services, next.NodeChecks, next.Checks
	r.HTTPConfig.ResponseHeaders = next.HTTPConfig.ResponseHeaders
	r.Telemetry.PrefixFilter = next.Telemetry.PrefixFilter
	r.Telemetry.FilterDefault = next.Telemetry.FilterDefault
	return &r
}
