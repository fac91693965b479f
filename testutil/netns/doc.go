// Package netns runs built servers as processes in network namespaces of
// their own, and does to them what happens to machines: links that are cut,
// in both directions or in one, slow and lossy ones; disks that are full; a
// loss of power, after which the data directory holds what was fsynced and
// nothing else.
//
// It promises that what it makes is gone when the test ends, and that what a
// killed test has left behind is gone when the next one begins. It needs
// root on Linux, with ip, nsenter, mount and mkfs.ext4, and skips its test
// with the reason where these are not to be had.
package netns
