package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"praetor/rpcserver/client"
	"praetor/structs"
)

// Web is an HTTP client that keeps so many connections to each server.
func Web(conns int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns, DisableCompression: true}}
}

// HTTPPut puts keys over HTTP; callers take the servers in turn.
func HTTPPut(c *http.Client, addrs ...string) Op { return HTTPPutKey(c, KeyName, addrs...) }

// HTTPPutKey is the same with keys of other names.
func HTTPPutKey(c *http.Client, key func(i int) string, addrs ...string) Op {
	return func(caller, i int) error {
		request, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s/v1/kv/%s?flags=%d", addrs[caller%len(addrs)], key(i), i), bytes.NewReader(Value))
		if err != nil {
			return err
		}
		return Answer(c.Do(request))
	}
}

// HTTPGet reads keys over HTTP in a mode, such as "?stale"; callers take the servers in turn.
func HTTPGet(c *http.Client, mode string, addrs ...string) Op {
	return func(caller, i int) error {
		return Answer(c.Get("http://" + addrs[caller%len(addrs)] + "/v1/kv/" + KeyName(i) + mode))
	}
}

// Fetch writes what a URL answers into a file.
func Fetch(url, path string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, r.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, r.Body)
	return err
}

// Answer reads a whole reply; the error is about any status but 200.
func Answer(r *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", r.StatusCode, body)
	}
	return err
}

// RPCPut puts keys with the Go client.
func RPCPut(c *client.Client) Op {
	return func(_, i int) error {
		_, err := c.KV().Apply(context.Background(), structs.KVSet, Put(i).DirEnt)
		return err
	}
}

// RPCGet reads keys with the Go client.
func RPCGet(c *client.Client) Op {
	return func(_, i int) error {
		_, _, err := c.KV().Get(context.Background(), KeyName(i), nil)
		return err
	}
}
