package rpcserver_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if a goroutine outlives the servers and clients of the tests.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}
