package agent_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// The rotation of a key that Consul's client and its users do.
func TestClientKeyring(t *testing.T) {
	t.Parallel()
	old, fresh := base64.StdEncoding.EncodeToString(make([]byte, 16)), base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))
	a := start(t, settings(t, `encrypt = "`+old+`"`))
	client, err := api.NewClient(&api.Config{Address: a.HTTPAddrs()[0]})
	if err != nil {
		t.Fatal(err)
	}
	operator := client.Operator()
	list := func(want ...string) {
		t.Helper()
		pools, err := operator.KeyringList(nil)
		if err != nil || len(pools) != 2 || !pools[0].WAN || pools[1].Datacenter != "dc1" {
			t.Fatalf("list: got %+v, %v", pools, err)
		}
		for _, pool := range pools {
			if len(pool.Keys) != len(want) || pool.NumNodes != 1 || pool.PrimaryKeys[want[0]] != 1 {
				t.Errorf("list: got %+v, want %q", pool, want)
			}
		}
	}
	list(old)
	for _, step := range []struct {
		do   func(string, *api.WriteOptions) error
		key  string
		want []string
	}{
		{operator.KeyringInstall, fresh, []string{old, fresh}},
		{operator.KeyringUse, fresh, []string{fresh, old}},
		{operator.KeyringRemove, old, []string{fresh}},
	} {
		if err := step.do(step.key, nil); err != nil {
			t.Fatal(err)
		}
		list(step.want...)
	}
	if err := operator.KeyringRemove(fresh, nil); err == nil || !strings.Contains(err.Error(), "primary key") {
		t.Errorf("removing the key in use: got %v", err)
	}
}
