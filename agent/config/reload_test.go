package config_test

import (
	"slices"
	"testing"

	"praetor/agent/config"
)

func TestReloadable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		hcl              string
		changed, refused []string
	}{
		{``, nil, nil},
		{`retry_join = [] http_config { response_headers {} }`, nil, nil},
		{`log_level = "warn"`, []string{"log_level"}, nil},
		{`raft_trailing_logs = 5 raft_snapshot_threshold = 6 raft_snapshot_interval = "7s"`,
			[]string{"raft_snapshot_threshold", "raft_snapshot_interval", "raft_trailing_logs"}, nil},
		{`limits { kv_max_value_size = 5 }`, []string{"limits.kv_max_value_size"}, nil},
		{`http_config { response_headers { A = "b" } }`, []string{"http_config.response_headers"}, nil},
		{`telemetry { prefix_filter = ["-a"] filter_default = false }`, []string{"telemetry.prefix_filter", "telemetry.filter_default"}, nil},
		{`ports { http = 5 } log_level = "warn"`, []string{"log_level"}, []string{"ports.http"}},
		{`node_meta { a = "b" } retry_join = ["c"]`, nil, []string{"node_meta", "retry_join"}},
	}
	for _, tt := range tests {
		changed, refused := config.Reloadable(mustLoad(t, ""), mustLoad(t, tt.hcl))
		if !slices.Equal(changed, tt.changed) || !slices.Equal(refused, tt.refused) {
			t.Errorf("%s: got changed %q, refused %q, want %q, %q", tt.hcl, changed, refused, tt.changed, tt.refused)
		}
	}
}
