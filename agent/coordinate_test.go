package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"

	"praetor/agent/config"
	"praetor/structs"
	"praetor/testutil"
)

// log puts a command into the log, whoever checks it otherwise.
func (a *testAPI) log(c structs.Command) {
	a.t.Helper()
	entry, err := structs.EncodeCommand(c)
	if err != nil {
		a.t.Fatal(err)
	}
	future := a.agent.server.Raft().Apply(entry, 10*time.Second)
	if err := future.Error(); err != nil {
		a.t.Fatal(err)
	}
	if err, failed := future.Response().(error); failed {
		a.t.Fatal(err)
	}
}

func TestCoordinateClient(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	a.log(&structs.RegisterRequest{Node: "foo", Address: "1.1.1.1"})
	client := a.client().Coordinate()
	if all, _, err := client.Nodes(nil); err != nil || all == nil || len(all) > 0 {
		t.Errorf("at first: got %v, %v, want []", all, err)
	}
	coord := coordinate.NewCoordinate(coordinate.DefaultConfig())
	coord.Height = 0.5
	want := &api.CoordinateEntry{Node: "foo", Coord: coord}
	for _, node := range []string{"unknown", "foo"} {
		if _, err := client.Update(&api.CoordinateEntry{Node: node, Coord: coord}, nil); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Eventually(t, 10*time.Second, "the coordinate", func() error {
		found, meta, err := client.Node("foo", nil)
		if err == nil && (len(found) != 1 || !cmp.Equal(found[0], want) || meta.LastIndex == 0) {
			err = errors.New(cmp.Diff([]*api.CoordinateEntry{want}, found))
		}
		return err
	})
	if all, meta, err := client.Nodes(nil); err != nil || len(all) != 1 || !meta.KnownLeader {
		t.Errorf("got %v, %+v, %v, want foo alone", all, meta, err)
	}
	if found, _, err := client.Node("unknown", nil); err == nil || !strings.Contains(err.Error(), "404 ()") {
		t.Errorf("unknown node: got %v, %v, want 404", found, err)
	}
	maps, err := client.Datacenters()
	if err != nil || len(maps) != 1 || maps[0].Datacenter != "dc1" || maps[0].AreaID != "wan" || len(maps[0].Coordinates) != 1 || maps[0].Coordinates[0].Node != "node-a" {
		t.Errorf("datacenters: got %+v, %v, want ours with its server", maps, err)
	}
}

func TestCoordinateAnswers(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, nil)
	const good = `{"Node":"foo","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1,"Height":0}}`
	for _, test := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"PUT", "/v1/coordinate/update", good, 200, ""},
		{"PUT", "/v1/coordinate/update", strings.Replace(good, "[0,", "[", 1), 500, "incompatible coordinate"},
		{"PUT", "/v1/coordinate/update", strings.Replace(good, "foo", "", 1), 500, "Must provide node"},
		{"PUT", "/v1/coordinate/update", strings.Replace(good, "foo", strings.Repeat("x", 2000), 1), 413, "the node name has 2000 bytes, more than 1024 (the limit of a name)"},
		{"PUT", "/v1/coordinate/update", `{"Node":"foo"}`, 500, "Must provide coordinate"},
		{"PUT", "/v1/coordinate/update", `{"Nope":1}`, 400, `Request decode failed: json: unknown field "Nope"`},
		{"PUT", "/v1/coordinate/update", "", 400, "Request decode failed: EOF"},
		{"PUT", "/v1/coordinate/update?dc=dc2", good, 500, "No path to datacenter"},
		{"GET", "/v1/coordinate/node/", "", 400, "Missing node name"},
		{"GET", "/v1/coordinate/nodes", "", 200, "[]"}, // foo is in no catalog
		{"GET", "/v1/coordinate/update", "", 405, "method GET not allowed"},
	} {
		if got := a.do(test.method, test.target, test.body); got.status != test.status || got.body != test.want {
			t.Errorf("%s %s %.60s: got %d %q, want %d %q", test.method, test.target, test.body, got.status, got.body, test.status, test.want)
		}
	}
}

func TestCoordinatesDisabled(t *testing.T) {
	t.Parallel()
	a := newTestAPI(t, func(r *config.Runtime) { r.DisableCoordinates = true })
	for _, target := range []string{"GET /v1/coordinate/datacenters", "GET /v1/coordinate/nodes", "GET /v1/coordinate/node/x", "PUT /v1/coordinate/update"} {
		method, path, _ := strings.Cut(target, " ")
		if got := a.do(method, path, ""); got.status != 401 || got.body != "Coordinate support disabled" {
			t.Errorf("%s: got %d %s", target, got.status, got.body)
		}
	}
	if got := a.do("GET", "/v1/agent/self", ""); got.status != 200 || !strings.Contains(got.body, `"Coord":null`) {
		t.Errorf("self: got %d, want 200 without a coordinate", got.status)
	}
}
