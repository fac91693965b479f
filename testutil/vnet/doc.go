// Package vnet is a network in memory: hosts with addresses, listeners, byte
// streams and gossip packets, and the faults that befall them. It is made for
// whole clusters inside a testing/synctest bubble, where a socket would stop
// the clock: whatever waits here waits on a channel or a timer, so virtual
// time passes whenever the cluster has nothing left to do. It works outside a
// bubble too, in real time.
//
// What it promises:
//
//   - A stream carries bytes in order, each way through a buffer of 256 KiB,
//     with deadlines, half-close and the errors a TCP socket would give.
//   - A link that is blocked or partitioned loses packets and holds the bytes
//     of streams; they arrive after the link is healed, as retransmitted TCP
//     segments would. Bytes that had arrived before the fault stay readable.
//   - A stream never gives up by itself: there is no keepalive and no
//     retransmission limit. Acknowledgements are not modelled, so a block in
//     one direction leaves the other one flowing.
//   - Delays are exact. The seed fixes the sequence of random draws (jitter,
//     loss), but not which of two simultaneous packets draws first.
package vnet
