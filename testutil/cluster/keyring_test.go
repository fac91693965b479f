package cluster_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"praetor/rpcserver"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// keyring has an operation done through one server and returns what the pool says.
func keyring(t *testing.T, n *cluster.Node, op structs.KeyringOp, key []byte) *structs.KeyringResponse {
	t.Helper()
	var reply structs.KeyringResponses
	q := structs.KeyringRequest{Operation: op, Key: base64.StdEncoding.EncodeToString(key)}
	if err := n.Call(context.Background(), "Internal.KeyringOperation", &q, &reply); err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	if len(reply.Responses) != 2 || !reply.Responses[0].WAN || reply.Responses[1].WAN {
		t.Fatalf("%s: got %+v, want the pool of all servers and the datacenter's", op, reply.Responses)
	}
	return reply.Responses[1]
}

// The whole cluster goes from one key to another, through any server, and comes
// back with the new one after a restart.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	first, second := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 32)
	text := func(key []byte) string { return base64.StdEncoding.EncodeToString(key) }
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		time.Sleep(5 * time.Second)
		list := func(want ...[]byte) {
			t.Helper()
			r := keyring(t, c.Followers()[0], structs.KeyringList, nil)
			if r.Error != "" || r.NumNodes != 3 || len(r.Keys) != len(want) || r.Datacenter != "dc1" {
				t.Errorf("list: got %+v", r)
			}
			for _, key := range want {
				if r.Keys[text(key)] != 3 {
					t.Errorf("key %s is on %d nodes", text(key), r.Keys[text(key)])
				}
			}
			if r.PrimaryKeys[text(want[0])] != 3 {
				t.Errorf("primary keys: got %v, want %s everywhere", r.PrimaryKeys, text(want[0]))
			}
		}
		change := func(op structs.KeyringOp, key []byte, want string) {
			t.Helper()
			if r := keyring(t, c.Followers()[1], op, key); r.Error != want {
				t.Errorf("%s: got %q %v, want %q", op, r.Error, r.Messages, want)
			}
		}
		list(first)
		change(structs.KeyringUse, second, "3/3 nodes reported failure")
		change(structs.KeyringInstall, []byte("short"), "3/3 nodes reported failure")
		change(structs.KeyringInstall, second, "")
		list(first, second)
		change(structs.KeyringUse, second, "")
		change(structs.KeyringRemove, second, "3/3 nodes reported failure")
		change(structs.KeyringRemove, first, "")
		list(second)

		again := c.Followers()[0]
		stored, err := os.ReadFile(filepath.Join(again.Config.DataDir, "serf", "local.keyring"))
		if err != nil || bytes.Contains(stored, []byte(text(first))) || !bytes.Contains(stored, []byte(text(second))) {
			t.Errorf("keyring file: got %s, %v", stored, err)
		}
		again.Restart()
		testutil.Eventually(t, time.Minute, "the restarted server is back", func() error {
			if n := len(c.Leader().Members()); n != 3 {
				return fmt.Errorf("%d members", n)
			}
			if r := keyring(t, again, structs.KeyringList, nil); r.Error != "" || r.Keys[text(second)] != 3 {
				return fmt.Errorf("keys: %+v", r)
			}
			return nil
		})
	}, func(_ int, c *rpcserver.Config) { c.Gossip.Keys = [][]byte{first} })
}

func TestKeyringWithoutEncryption(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		r := keyring(t, c.Leader(), structs.KeyringList, nil)
		if r.Error != "1/1 nodes reported failure" || r.Messages["node0"] != "Keyring is empty (encryption not enabled)" {
			t.Errorf("got %+v", r)
		}
		var reply structs.KeyringResponses
		q := structs.KeyringRequest{Operation: structs.KeyringList, LocalOnly: true}
		if err := c.Leader().Call(context.Background(), "Internal.KeyringOperation", &q, &reply); err != nil || len(reply.Responses) != 1 {
			t.Errorf("local only: got %+v, %v", reply, err)
		}
	})
}
