package agent

import (
	"github.com/hashicorp/go-hclog"

	"praetor/agent/config"
	"praetor/rpcserver"
)

// Agent is one running Praetor process.
type Agent struct {
	config *config.Runtime
	logger hclog.Logger
	server *rpcserver.Server
}
