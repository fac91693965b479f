// Package agent is the process around a server: its configuration and life, the
// HTTP API, metrics and logs. It knows nothing of raft's insides: requests are
// decoded, handed to the server in process, and their replies encoded.
package agent
