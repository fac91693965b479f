package command_test

import (
	"maps"
	"net/http"
	"strings"
)

func init() { maps.Copy(canned, coordination) }

// coordination are the answers about sessions, services, events and the like.
var coordination = map[string]string{
	"PUT /v1/agent/service/register": ``, "PUT /v1/agent/service/deregister/web": ``, "PUT /v1/agent/service/deregister/db1": ``,
	"PUT /v1/agent/service/deregister/a": ``, "PUT /v1/agent/service/deregister/b2": ``,
	"PUT /v1/event/fire/deploy":   `{"ID":"b54fe110-7af5-cafc-d1fb-afc8ba432b1c","Name":"deploy","Version":1,"LTime":0}`,
	"GET /v1/catalog/datacenters": `["dc1","dc2"]`,
	"GET /v1/catalog/nodes": `[
		{"ID":"11111111-2222-3333-4444-555555555555","Node":"one","Address":"10.0.0.1","Datacenter":"dc1",
			"TaggedAddresses":{"wan":"10.0.0.1","lan":"10.0.0.1"},"Meta":{"rack":"7"},"CreateIndex":5,"ModifyIndex":5},
		{"ID":"","Node":"ext","Address":"10.9.9.9","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":6,"ModifyIndex":6}]`,
	"GET /v1/catalog/services": `{"web":["v2","v1"],"consul":[]}`,
	"GET /v1/catalog/service/web": `[
		{"ID":"","Node":"ext","Address":"10.9.9.9","Datacenter":"dc1","ServiceID":"web1","ServiceName":"web"},
		{"ID":"","Node":"ext","Address":"10.9.9.9","Datacenter":"dc1","ServiceID":"web2","ServiceName":"web"}]`,
	"GET /v1/catalog/service/none": `[]`,
	"GET /v1/catalog/node/ext": `{"Node":{"Node":"ext"},"Services":{"web1":{"ID":"web1","Service":"web","Tags":["v2"]},
		"web2":{"ID":"web2","Service":"web","Tags":["v1","v2"]}}}`,
	"GET /v1/catalog/node/none": `null`,
	"GET /v1/coordinate/nodes": `[
		{"Node":"one","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}},
		{"Node":"two","Segment":"","Coord":{"Vec":[0.003,0.004,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}},
		{"Node":"odd","Segment":"","Coord":{"Vec":[1],"Error":1.5,"Adjustment":0,"Height":0.00001}}]`,

	"GET /v1/event/list": `[{"ID":"b54fe110-7af5-cafc-d1fb-afc8ba432b1c","Name":"deploy","Payload":"MS40LjI=","NodeFilter":"","ServiceFilter":"",
		"TagFilter":"","Version":1,"LTime":19}]`,
	"GET /v1/health/state/any": `[{"Node":"one","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Notes":"",
		"Output":"Agent alive and reachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Definition":{},"CreateIndex":5,"ModifyIndex":5}]`,
	"GET /v1/health/state/critical": `[]`, "GET /v1/health/checks/web": `[]`, "GET /v1/health/service/web": `[]`,

	"GET /v1/session/list": `[
		{"ID":"1111","Name":"worker","Node":"one","LockDelay":15000000000,"Behavior":"release","TTL":"30s","NodeChecks":["serfHealth"],
			"ServiceChecks":[{"ID":"service:web","Namespace":""}],"CreateIndex":7,"ModifyIndex":7,"ExpiresIn":"41.26s"},
		{"ID":"2222","Name":"","Node":"one","LockDelay":0,"Behavior":"delete","TTL":"","NodeChecks":[],"ServiceChecks":null,
			"CreateIndex":8,"ModifyIndex":8}]`,
	"GET /v1/session/node/two": `[]`,
	"GET /v1/session/info/3333": `[{"ID":"3333","Name":"w","Node":"one","LockDelay":1500000000,"Behavior":"release","TTL":"2s","NodeChecks":["serfHealth"],
		"ServiceChecks":[{"ID":"service:web","Namespace":""}],"CreateIndex":9,"ModifyIndex":9,"Expiry":"exact","ExpiresIn":"1.7s"}]`,
	"GET /v1/session/info/4444": `[]`, "PUT /v1/session/create": `{"ID":"5555"}`,
	"PUT /v1/session/destroy/1111": `true`, "PUT /v1/session/destroy/2222": `true`,
	"PUT /v1/session/renew/3333": `[{"ID":"3333","Node":"one","LockDelay":0,"Behavior":"release","TTL":"2s","Expiry":"exact","ExpiresIn":"2s"}]`,
	"PUT /v1/session/renew/2222": `[{"ID":"2222","Node":"one","LockDelay":0,"Behavior":"release","TTL":""}]`,
	"PUT /v1/session/renew/1111": `[{"ID":"1111","Node":"one","LockDelay":0,"Behavior":"release","TTL":"30s"}]`,
}

// txnAnswer answers a transaction.
func txnAnswer(w http.ResponseWriter, body string) (answer string, known bool) {
	for part, reply := range transactions {
		if strings.Contains(body, part) {
			answer, known = reply, true
		}
	}
	if strings.Contains(answer, "OpIndex") {
		w.WriteHeader(http.StatusConflict)
	}
	return answer, known
}

// transactions are answers to transactions with this part in them.
var transactions = map[string]string{
	`"move"`: `{"Results":[{"KV":{"LockIndex":0,"Key":"move","Flags":0,"Value":null,"CreateIndex":46,"ModifyIndex":46}},
		{"KV":{"LockIndex":7,"Key":"a/1","Flags":0,"Value":"b25l","Session":"1111","CreateIndex":40,"ModifyIndex":41}},
		{"KV":{"LockIndex":0,"Key":"a/2","Flags":0,"Value":"AAE=","CreateIndex":40,"ModifyIndex":42}},
		{"KV":{"LockIndex":0,"Key":"a/2","Flags":0,"Value":"AAE=","CreateIndex":40,"ModifyIndex":42}},
		{"Node":{"ID":"","Node":"ext","Address":"10.9.9.9","Datacenter":"dc1","CreateIndex":6,"ModifyIndex":46}},
		{"Service":{"ID":"web1","Service":"web","CreateIndex":6,"ModifyIndex":46}},
		{"Check":{"Node":"ext","CheckID":"alive","Status":"passing","CreateIndex":6,"ModifyIndex":46}}],"Errors":null}`,
	`"stale"`: `{"Results":null,"Errors":[{"OpIndex":1,"What":"failed to set key \"stale\", index is stale"},
		{"OpIndex":2,"What":"node \"ext\" doesn't exist"}]}`,
	`"MQ=="`: `{"Results":[{"KV":{"LockIndex":0,"Key":"a","Flags":0,"Value":null,"CreateIndex":46,"ModifyIndex":46}}],"Errors":null}`,
	`[]`:     `{"Results":[],"Errors":null}`,
	`"few"`:  `{"Results":[],"Errors":null}`,
}
