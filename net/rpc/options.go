package rpc

import (
	"net"
	"time"
)

// Least values, which every side may count on before it has heard from the
// other one.
const (
	minFrame  = 64 << 10
	minCalls  = 64
	minWindow = 4 << 10

	mostFrame = 64 << 20
	mostCalls = 1 << 20
	queueSize = 256 << 10 // frames that wait to be written, before more have to wait
)

// Options are the limits of one side. The zero value of each field means its
// default; values out of range are moved to the nearest allowed one.
type Options struct {
	// MaxFrame is the longest request, answer or message that is taken, in bytes
	// with the method's name. Default 1 MiB, 64 KiB to 64 MiB. The other side is
	// told, and gets TooLarge for more before anything is sent.
	MaxFrame int
	// MaxCalls is how many calls and streams may be under way on one connection.
	// Default 4,096, 64 to 1,048,576. The other side is told; there a Call waits
	// for one to end.
	MaxCalls int
	// Window is how many bytes of one stream's messages may wait for their
	// reader; a message is at most half of it and counts as at least 64. Default
	// 256 KiB, 4 KiB to 64 MiB.
	Window int
	// MaxBytes bounds what one connection can make a server hold: the requests
	// under way and the windows of open streams. What is over gets Busy.
	// Default 64 MiB.
	MaxBytes int
	// MaxConns is how many connections Serve has open; more are closed at once.
	// Default 1,024.
	MaxConns int

	// Handshake is how long the other side may take for its first 20 bytes.
	// Default 10 s.
	Handshake time.Duration
	// WriteTimeout is how long a write of at most 64 KiB may take, for a peer
	// that does not read; it may be cut short by a quarter. Default 10 s. It
	// holds where the connection has SetWriteDeadline.
	WriteTimeout time.Duration
	// Heartbeat, unless 0, is how often this side gives a sign of life and asks
	// for one, when it has nothing else to send, and Silence after how much of
	// nothing from the other side the connection is lost. Default of Silence: six
	// heartbeats.
	Heartbeat, Silence time.Duration

	// Peer says who is at the other end of a connection that Serve has accepted.
	// It may talk to it (a TLS handshake), in the time of Handshake; an error
	// refuses it. Default: the connection itself.
	Peer func(conn net.Conn) (peer any, err error)
	// Ended, if set, is told of connections that Serve refused or that ended
	// otherwise than by the other side's Close; peer is nil where it is not known.
	Ended func(peer any, err error)
	// Panicked, if set, is told of panics in handlers.
	Panicked func(method string, value any, stack []byte)
}

func (o Options) normalize() Options {
	o.MaxFrame = within(o.MaxFrame, 1<<20, minFrame, mostFrame)
	o.MaxCalls = within(o.MaxCalls, 4096, minCalls, mostCalls)
	o.Window = within(o.Window, 256<<10, minWindow, mostFrame)
	o.MaxBytes = within(o.MaxBytes, 64<<20, max(o.MaxFrame, o.Window), 1<<40)
	o.MaxConns = within(o.MaxConns, 1024, 1, 1<<20)
	o.Handshake = within(o.Handshake, 10*time.Second, time.Millisecond, time.Hour)
	o.WriteTimeout = within(o.WriteTimeout, 10*time.Second, time.Millisecond, time.Hour)
	if o.Heartbeat > 0 {
		o.Heartbeat = max(o.Heartbeat, time.Millisecond)
		o.Silence = within(o.Silence, 6*o.Heartbeat, o.Heartbeat, 1<<62)
	}
	return o
}

func within[T int | time.Duration](v, ordinary, least, most T) T {
	if v == 0 {
		v = ordinary
	}
	return min(max(v, least), most)
}
