//go:build linux

package netns

// Sweep is sweep.
var Sweep = sweep
