package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
	"praetor/testutil"
	"praetor/testutil/cluster"
)

// app is a program that uses a cluster, over one client.
type app struct {
	t testing.TB
	*client.Client
	node string // on which its sessions are
}

func newApp(t testing.TB, c *cluster.Cluster) app {
	return app{t, c.Client(c.Nodes...), c.Nodes[0].Config.NodeName}
}

// session makes a session, trying until it is certain.
func (a app) session(session structs.Session) string {
	a.t.Helper()
	if session.Node == "" {
		session.Node = a.node
	}
	var id string
	testutil.Eventually(a.t, time.Minute, "a session", func() (err error) {
		id, err = a.Session().Create(context.Background(), session)
		return err
	})
	return id
}

var consistently = &structs.QueryOptions{RequireConsistent: true}

// alive asks the leader for a session.
func (a app) alive(id string) *structs.Session {
	a.t.Helper()
	var found *structs.Session
	testutil.Eventually(a.t, time.Minute, "the session", func() (err error) {
		found, _, err = a.Session().Info(context.Background(), id, consistently)
		return err
	})
	return found
}

// gone waits until a session is no more.
func (a app) gone(id string) {
	a.t.Helper()
	testutil.Eventually(a.t, 5*time.Minute, "the end of the session", func() error {
		if a.alive(id) != nil {
			return fmt.Errorf("session %s is still there", id)
		}
		return nil
	})
}

func (a app) acquire(key, session string) bool {
	a.t.Helper()
	ok, err := a.KV().Acquire(context.Background(), key, []byte(session), session)
	if err != nil {
		a.t.Fatalf("acquire %s: %v", key, err)
	}
	return ok
}

// entry reads a key as it is; nil if it is not there.
func (a app) entry(key string) *structs.DirEntry {
	a.t.Helper()
	var found *structs.DirEntry
	testutil.Eventually(a.t, time.Minute, "get "+key, func() (err error) {
		found, _, err = a.KV().Get(context.Background(), key, consistently)
		return err
	})
	return found
}

// A session ends at twice its TTL, or at its TTL if it asked for that; the
// leader says beforehand when that is.
func TestSessionExpires(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		session structs.Session
		life    time.Duration
	}{
		"twice the TTL": {structs.Session{TTL: "10s"}, 20 * time.Second},
		"exact":         {structs.Session{TTL: "1s", Expiry: structs.ExpiryExact}, time.Second},
		"exact, longer": {structs.Session{TTL: "90s", Expiry: structs.ExpiryExact}, 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				a := newApp(t, c)
				forever := a.session(structs.Session{})
				start := time.Now()
				id := a.session(test.session)
				if !a.acquire("lock", id) {
					t.Fatal("cannot take a free lock")
				}
				took(t, "one renewal less", start, 0, 100*time.Millisecond)
				time.Sleep(test.life / 2)
				renewed := time.Now()
				session, err := a.Session().Renew(context.Background(), id)
				if err != nil || session == nil || session.ExpiresIn > test.life || session.ExpiresIn < test.life-100*time.Millisecond {
					t.Fatalf("renew: got %+v, %v, want that it expires in %v", session, err, test.life)
				}
				time.Sleep(test.life * 3 / 4)
				if s := a.alive(id); s == nil || s.ExpiresIn > test.life/4 || s.ExpiresIn <= 0 {
					t.Errorf("got %+v, want a session that expires in less than %v", s, test.life/4)
				}
				a.gone(id)
				took(t, "expiry", renewed, test.life, test.life+200*time.Millisecond)
				if e := a.entry("lock"); e == nil || e.Session != "" || e.LockIndex != 1 {
					t.Errorf("got %+v, want the key released", e)
				}
				if session, err := a.Session().Renew(context.Background(), id); session != nil || err != nil {
					t.Errorf("renew of an expired session: got %+v, %v, want neither", session, err)
				}
				if _, err := a.KV().Acquire(context.Background(), "lock", nil, id); !structs.IsCode(err, structs.Invalid) {
					t.Errorf("acquire for an expired session: got %v, want code Invalid", err)
				}
				if s := a.alive(forever); s == nil || s.ExpiresIn != 0 {
					t.Errorf("got %+v, want the session without TTL", s)
				}
			})
		})
	}
}

// A leader change never ends a session early, and makes it end late by at most
// its whole time.
func TestSessionTTLAcrossLeaderChanges(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		const life = 20 * time.Second
		start := time.Now()
		id := a.session(structs.Session{TTL: "10s"})
		time.Sleep(life - time.Second)
		c.Leader().Restart()
		c.Leader()
		changed := time.Now()
		time.Sleep(2 * time.Second) // its old time is over by now
		if a.alive(id) == nil {
			t.Error("the session ended early")
		}
		a.gone(id)
		took(t, "expiry after the change", changed, life-5*time.Second, life+time.Second)
		took(t, "expiry", start, life, 2*life+5*time.Second)
	})
}

// What a leader that is not one any more says of a renewal is no promise: it
// proves that it leads first.
func TestRenewIsAPromise(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		const life = time.Second
		var clients sync.WaitGroup
		var mu sync.Mutex
		renewals, refusals := 0, 0
		for i := range 20 {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			id := a.session(structs.Session{TTL: "1s", Expiry: structs.ExpiryExact})
			sessions := a.Session()
			clients.Go(func() {
				for range 60 {
					time.Sleep(time.Duration(float64(life) * (0.6 + 0.42*random.Float64())))
					asked := time.Now()
					session, err := sessions.Renew(context.Background(), id)
					if err != nil {
						continue
					}
					if session == nil {
						mu.Lock()
						refusals++
						mu.Unlock()
						return
					}
					mu.Lock()
					renewals++
					mu.Unlock()
					time.Sleep(time.Until(asked.Add(life - 20*time.Millisecond)))
					if found, _, err := sessions.Info(context.Background(), id, nil); err == nil && found == nil && time.Since(asked) < life {
						t.Errorf("session %s was gone %v after a renewal that worked", id, time.Since(asked))
					}
					if _, err := sessions.Renew(context.Background(), id); err != nil {
						continue
					}
				}
			})
		}
		for range 3 {
			time.Sleep(7 * time.Second)
			old := c.Leader()
			c.Net.Partition([]string{old.IP, "10.0.1.1"}) // the clients still see it
			time.Sleep(4 * time.Second)
			c.Net.Heal()
		}
		clients.Wait()
		t.Logf("%d renewals, %d refusals", renewals, refusals)
		if renewals == 0 || refusals == 0 {
			t.Errorf("got %d renewals and %d refusals, want some of both", renewals, refusals)
		}
	})
}

// A critical check, a removed check and a removed node each end a session.
func TestSessionIsLostWithWhatItDependsOn(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(n *cluster.Node) error{
		"critical check": func(n *cluster.Node) error {
			return registerCheck(n, structs.HealthCritical)
		},
		"removed check": func(n *cluster.Node) error {
			return n.Call(context.Background(), "Catalog.Deregister", &structs.DeregisterRequest{Node: "web1", CheckID: "alive"}, &struct{}{})
		},
		"removed node": func(n *cluster.Node) error {
			return n.Call(context.Background(), "Catalog.Deregister", &structs.DeregisterRequest{Node: "WEB1"}, &struct{}{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, 3, func(t *testing.T, c *cluster.Cluster) {
				a := newApp(t, c)
				n := c.Leader()
				if err := registerCheck(n, structs.HealthPassing); err != nil {
					t.Fatal(err)
				}
				session := structs.Session{Node: "web1", NodeChecks: []string{"alive"}, LockDelay: time.Second}
				kept := a.session(session)
				session.Behavior = structs.SessionDelete
				deleted := a.session(session)
				other := a.session(structs.Session{})
				for key, id := range map[string]string{"kept": kept, "deleted": deleted, "other": other} {
					if !a.acquire(key, id) {
						t.Fatalf("cannot take the free lock %s", key)
					}
				}
				if err := registerCheck(n, structs.HealthWarning); err != nil {
					t.Fatal(err)
				}
				if a.alive(kept) == nil {
					t.Error("a warning ended a session")
				}
				if err := lose(n); err != nil {
					t.Fatal(err)
				}
				if a.alive(kept) != nil || a.alive(deleted) != nil || a.alive(other) == nil {
					t.Error("want both sessions gone, and the one of another node there")
				}
				if e := a.entry("kept"); e == nil || e.Session != "" || string(e.Value) != kept {
					t.Errorf("kept: got %+v, want it released", e)
				}
				if e := a.entry("deleted"); e != nil {
					t.Errorf("deleted: got %+v, want it gone", e)
				}
				if e := a.entry("other"); e == nil || e.Session != other {
					t.Errorf("other: got %+v, want it held", e)
				}
				for _, key := range []string{"kept", "deleted"} {
					if a.acquire(key, other) {
						t.Errorf("%s was taken within the lock delay", key)
					}
				}
				time.Sleep(1100 * time.Millisecond)
				for _, key := range []string{"kept", "deleted"} {
					if !a.acquire(key, other) {
						t.Errorf("%s cannot be taken after the lock delay", key)
					}
					if e := a.entry(key); e.LockIndex != 2 {
						t.Errorf("%s: got LockIndex %d, want 2", key, e.LockIndex)
					}
				}
			})
		})
	}
}

func registerCheck(n *cluster.Node, status string) error {
	request := structs.RegisterRequest{Node: "web1", Address: "10.9.9.9", Check: &structs.HealthCheck{
		Node: "web1", CheckID: "alive", Name: "alive", Status: status,
	}}
	return n.Call(context.Background(), "Catalog.Register", &request, &struct{}{})
}

// What a session may not be is refused with Consul's words, and nothing changes.
func TestSessionRefusals(t *testing.T) {
	t.Parallel()
	story(t, 1, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		node := c.Nodes[0].Config.NodeName
		if err := registerCheck(c.Leader(), structs.HealthCritical); err != nil {
			t.Fatal(err)
		}
		before := c.Leader().Raft().LastIndex()
		for want, session := range map[string]structs.Session{
			"Must provide Node":                                                                              {},
			"Invalid Behavior setting 'abc'":                                                                 {Node: node, Behavior: "abc"},
			"Session TTL 'abc' invalid: time: invalid duration \"abc\"":                                      {Node: node, TTL: "abc"},
			"Invalid Session TTL '1000000000', must be between [10s=24h0m0s]":                                {Node: node, TTL: "1s"},
			"Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]":                            {Node: node, TTL: "25h"},
			"Invalid Session TTL '999000000', must be between [1s=24h0m0s]":                                  {Node: node, TTL: "999ms", Expiry: structs.ExpiryExact},
			"Invalid Session TTL '-1000000000', must be between [10s=24h0m0s]":                               {Node: node, TTL: "-1s"},
			"Invalid Expiry setting 'soon', must be 'exact' or empty":                                        {Node: node, Expiry: "soon"},
			"Invalid LockDelay '-1s', must not be negative":                                                  {Node: node, LockDelay: -time.Second},
			"session is too large: its name, node and checks have 20000005 bytes, at most 16384 are allowed": {Node: node, Name: string(make([]byte, 20_000_000))},
		} {
			_, err := create(c.Leader(), session)
			if err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		if after := c.Leader().Raft().LastIndex(); after != before {
			t.Errorf("what was refused went into the log: its index was %d and is %d", before, after)
		}
		for want, session := range map[string]structs.Session{
			"apply failed: Missing node registration":               {Node: "nowhere"},
			"apply failed: Missing check 'zzz' registration":        {Node: node, NodeChecks: []string{structs.SerfHealth, "zzz"}},
			"apply failed: Missing check 'svc' registration":        {Node: node, ServiceChecks: []structs.ServiceCheck{{ID: "svc"}}},
			"apply failed: Check 'alive' is in critical state":      {Node: "web1", NodeChecks: []string{"alive"}},
			"apply failed: Missing check 'serfHealth' registration": {Node: "web1", NodeChecks: []string{structs.SerfHealth}},
		} {
			_, err := create(c.Leader(), session)
			if err == nil || err.Error() != want || !structs.IsCode(err, structs.Invalid) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		sessions, _, err := a.Session().List(context.Background(), nil)
		if len(sessions) != 0 || err != nil {
			t.Errorf("got sessions %v, %v, want none", sessions, err)
		}
		if err := a.Session().Destroy(context.Background(), "unknown"); err != nil {
			t.Errorf("destroy of an unknown session: %v", err)
		}
		id, err := create(c.Leader(), structs.Session{Node: node, ID: "mine", LockDelay: time.Hour, TTL: "0s"})
		if s := a.alive(id); err != nil || id == "mine" || s == nil || s.LockDelay != time.Minute || s.Behavior != structs.SessionRelease {
			t.Errorf("got %s, %+v, %v, want an id of the leader's and a lock delay of a minute", id, s, err)
		}
	})
}

func create(n *cluster.Node, session structs.Session) (id string, err error) {
	request := structs.SessionRequest{Op: structs.SessionCreate, Session: session}
	err = n.Call(context.Background(), "Session.Apply", &request, &id)
	return id, err
}

// Whoever waits on a session learns of its end, and is not woken by others.
func TestSessionWatch(t *testing.T) {
	t.Parallel()
	story(t, 3, func(t *testing.T, c *cluster.Cluster) {
		a := newApp(t, c)
		id := a.session(structs.Session{})
		sessions := a.Session()
		_, meta, err := sessions.Info(context.Background(), id, nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		time.AfterFunc(3*time.Second, func() { sessions.Destroy(context.Background(), id) })
		found, after, err := sessions.Info(context.Background(), id, &structs.QueryOptions{MinQueryIndex: meta.Index, MaxQueryTime: time.Minute})
		if found != nil || err != nil || after.Index <= meta.Index {
			t.Errorf("got %+v at %d, %v, want none after %d", found, after.Index, err, meta.Index)
		}
		took(t, "the news", start, 3*time.Second, 3200*time.Millisecond)
	})
}
