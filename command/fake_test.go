package command_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"praetor/structs"
)

// fake answers the HTTP API as a server would, as far as the scripts go.
type fake struct {
	*httptest.Server

	mu       sync.Mutex // guards the fields below
	index    uint64
	pairs    map[string]structs.DirEntry
	log      []string                            // method and URI of each request
	bodies   []string                            // and its body
	snapshot []byte                              // what GET /v1/snapshot answers
	restored []byte                              // what PUT /v1/snapshot got
	refuse   func(r *http.Request) (int, string) // says no first, if it is set and its code is not 0
}

func newFake(t *testing.T) *fake {
	t.Helper()
	snap, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{index: 10, pairs: map[string]structs.DirEntry{}, snapshot: snap}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	t.Setenv("PRAETOR_HTTP_ADDR", f.URL)
	return f
}

// canned are the answers that never change.
var canned = map[string]string{
	"GET /v1/agent/self": `{"Config":{"Version":"0.1.0","Datacenter":"dc1","NodeName":"one"},
		"Stats":{"raft":{"state":"Leader","applied_index":"12"},"consul":{"leader":"true","server":"true"}}}`,
	"GET /v1/agent/members": `[
		{"Name":"two","Addr":"10.0.0.2","Port":8301,"Status":4,"Tags":{"role":"consul","dc":"dc1","vsn":"2","build":"0.1.0:praetor"}},
		{"Name":"one","Addr":"10.0.0.1","Port":8301,"Status":1,"Tags":{"role":"consul","dc":"dc1","vsn":"2","build":"0.1.0:praetor"}}]`,
	"PUT /v1/agent/join/10.0.0.1": ``, "PUT /v1/agent/leave": ``, "PUT /v1/agent/reload": ``,
	"PUT /v1/agent/force-leave/two": ``,
	"GET /v1/agent/monitor":         "2026-01-02T03:04:05.678Z [INFO]  agent: one\n2026-01-02T03:04:05.679Z [WARN]  agent: two\n",
	"GET /v1/operator/raft/configuration": `{"Index":0,"Servers":[
		{"ID":"1111","Node":"one","Address":"10.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true,"LastIndex":72},
		{"ID":"2222","Node":"two","Address":"10.0.0.2:8300","Leader":false,"ProtocolVersion":"3","Voter":true,"LastIndex":70},
		{"ID":"3333","Node":"(unknown)","Address":"10.0.0.3:8300","Leader":false,"ProtocolVersion":"3","Voter":false,"LastIndex":0}]}`,
	"DELETE /v1/operator/raft/peer": ``, "PUT /v1/operator/raft/peer": ``,
	"PUT /v1/operator/raft/promote": ``, "PUT /v1/operator/raft/demote": ``,
	"POST /v1/operator/raft/transfer-leader": `{"Success":true}`,
	"GET /v1/operator/autopilot/configuration": `{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,
		"MinQuorum":0,"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","ModifyIndex":4}`,
	"PUT /v1/operator/autopilot/configuration": `true`,
	"GET /v1/operator/autopilot/state": `{"Healthy":false,"FailureTolerance":0,"OptimisticFailureTolerance":0,"Leader":"1111","Voters":["2222","1111"],
		"ReadReplicas":["3333"],"Servers":{
		"1111":{"ID":"1111","Name":"one","Address":"10.0.0.1:8300","NodeStatus":"alive","Version":"0.1.0","LastContact":"0s","LastTerm":3,"LastIndex":72,
			"Healthy":true,"StableSince":"2026-01-02T03:04:05Z","ReadReplica":false,"Status":"leader","Meta":{"role":"consul"},"NodeType":"voter"},
		"2222":{"ID":"2222","Name":"two","Address":"10.0.0.2:8300","NodeStatus":"failed","Version":"0.1.0","LastContact":"1m0s","LastTerm":2,"LastIndex":70,
			"Healthy":false,"StableSince":"2026-01-02T03:04:05Z","ReadReplica":false,"Status":"voter","Meta":{"role":"consul"},"NodeType":"voter"}}}`,
	"GET /v1/operator/keyring": `[{"WAN":true,"Datacenter":"dc1","Segment":"","Keys":{"old=":2,"new=":1},"PrimaryKeys":{"old=":2},"NumNodes":2},
		{"WAN":false,"Datacenter":"dc1","Segment":"","Keys":{"old=":2,"new=":1},"PrimaryKeys":{"old=":2},"NumNodes":2}]`,
	"POST /v1/operator/keyring": ``, "PUT /v1/operator/keyring": ``, "DELETE /v1/operator/keyring": ``,
	"GET /v1/agent/checks": `{"_service_maintenance:web1":{"Node":"one","CheckID":"_service_maintenance:web1","ServiceID":"web1","Notes":"a new disk","Status":"critical"},
		"_node_maintenance":{"Node":"one","CheckID":"_node_maintenance","Notes":"moving","Status":"critical"},
		"web":{"Node":"one","CheckID":"web","ServiceID":"web1","Status":"passing"}}`,
	"GET /v1/operator/backup/status": `{"Leader":"one","Target":"s3://backups/dc1","Schedule":"every 1h0m0s","Encrypted":true,"Running":false,"Started":3,
		"Finished":3,"Succeeded":0,"Next":"2026-01-02T04:00:00Z","Backups":0,"Last":null,"Failures":3,"LastError":"there is no bucket backups",
		"LastErrorTime":"2026-01-02T03:50:00Z"}`,
	"PUT /v1/operator/backup/run": `{"Name":"00000000000000000072-1767322800000","Index":72,"Time":"2026-01-02T03:00:00Z","Took":"1.5s","Size":20480,
		"SHA256":"aa","StateHash":"bb","ClusterID":"c","Server":"one","Version":"0.1.0","Encrypted":true,"Verified":true}`,
	"PUT /v1/agent/maintenance": ``, "PUT /v1/agent/service/maintenance/web1": ``,
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, r.Method+" "+r.RequestURI)
	f.bodies = append(f.bodies, string(body))
	if f.refuse != nil {
		if code, text := f.refuse(r); code != 0 {
			http.Error(w, text, code)
			return
		}
	}
	if key, ok := strings.CutPrefix(r.URL.Path, "/v1/kv/"); ok {
		f.kv(w, r, key, body)
		return
	}
	what := r.Method + " " + r.URL.Path
	answer, known := canned[what]
	if what == "PUT /v1/txn" {
		answer, known = txnAnswer(w, string(body))
	}
	switch {
	case what == "GET /v1/snapshot":
		_, _ = w.Write(f.snapshot)
	case what == "PUT /v1/snapshot":
		f.restored = body
	case known:
		fmt.Fprint(w, answer)
	case strings.HasPrefix(what, "PUT /v1/session/renew/"):
		http.Error(w, "Session id not found", http.StatusNotFound)
	default:
		http.Error(w, "no such thing: "+what, http.StatusInternalServerError)
	}
}

func (f *fake) kv(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	q := r.URL.Query()
	if fence := q.Get("fence"); fence != "" && fence != "app/lock:1" {
		http.Error(w, "fenced: the lock on key \"app/lock\" is not held", http.StatusConflict)
		return
	}
	old, exists := f.pairs[key]
	f.index++
	switch r.Method {
	case http.MethodPut:
		flags, _ := strconv.ParseUint(q.Get("flags"), 10, 64)
		if q.Has("cas") && q.Get("cas") != strconv.FormatUint(old.ModifyIndex, 10) {
			fmt.Fprint(w, "false")
			return
		}
		ttl, _ := time.ParseDuration(q.Get("ttl"))
		e := structs.DirEntry{Key: key, Value: body, Flags: flags, Session: q.Get("acquire"), TTL: ttl}
		if e.ModifyIndex, e.CreateIndex = f.index, f.index; exists {
			e.CreateIndex = old.CreateIndex
		}
		f.pairs[key] = e
		fmt.Fprint(w, "true")
	case http.MethodDelete:
		for k, e := range f.pairs {
			if k == key || q.Has("recurse") && strings.HasPrefix(k, key) {
				if q.Has("cas") && q.Get("cas") != strconv.FormatUint(e.ModifyIndex, 10) {
					fmt.Fprint(w, "false")
					return
				}
				delete(f.pairs, k)
			}
		}
		fmt.Fprint(w, "true")
	case http.MethodGet:
		var rows []structs.DirEntry
		var names []string
		for k, e := range f.pairs {
			if k == key || (q.Has("recurse") || q.Has("keys")) && strings.HasPrefix(k, key) {
				rows = append(rows, e)
				if sep := q.Get("separator"); sep != "" {
					if head, _, cut := strings.Cut(k[len(key):], sep); cut {
						k = key + head + sep
					}
				}
				names = append(names, k)
			}
		}
		if len(rows) == 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		slices.SortFunc(rows, func(a, b structs.DirEntry) int { return strings.Compare(a.Key, b.Key) })
		slices.Sort(names)
		if q.Has("keys") {
			_ = json.NewEncoder(w).Encode(slices.Compact(names))
		} else {
			_ = json.NewEncoder(w).Encode(rows)
		}
	}
}
