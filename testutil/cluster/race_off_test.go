//go:build !race

package cluster_test

// raceDetector says whether the tests are slowed down by it.
const raceDetector = false
