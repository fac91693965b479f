package rpcserver

import (
	"praetor/state"
	"praetor/structs"
)

// meshKinds are the kinds of services that only Consul's mesh has.
var meshKinds = []string{"connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"}

const meshNative = "connect-native"

func operatorUsage(server *Server, r *state.Reader, _ *structs.UsageRequest, reply *structs.IndexedUsage) error {
	usage := structs.ServiceUsage{ConnectServiceInstances: map[string]int{meshNative: 0}}
	for _, kind := range meshKinds {
		usage.ConnectServiceInstances[kind] = 0
	}
	usage.Nodes = len(r.Nodes())
	names := map[string]bool{}
	for _, s := range r.AllServices() {
		names[structs.FoldName(s.ServiceName)] = true
		usage.ServiceInstances++
		if s.ServiceKind != "" {
			usage.ConnectServiceInstances[s.ServiceKind]++
			continue
		}
		if s.ServiceConnect.Native {
			usage.ConnectServiceInstances[meshNative]++
		}
		if s.ServiceName != serversService {
			usage.BillableServiceInstances++
		}
	}
	usage.Services = len(names)
	reply.Usage = map[string]structs.ServiceUsage{server.config.Datacenter: usage}
	return nil
}
