// Package client is the Go client of Praetor's RPC port.
//
// New takes the addresses of one or several servers and gives typed calls with
// context, time-outs and retry on another server:
//
//	c, err := client.New("10.0.0.1:8300", "10.0.0.2:8300")
//	err = c.KV().Put(ctx, "greeting", []byte("hello"))
//
// One connection carries any number of calls at once. A read whose connection
// dies is tried on another server. A write is tried again only when it is sure
// that nothing was done; else the error has code structs.Unclear, and whether
// to try again is for the caller to decide.
package client
