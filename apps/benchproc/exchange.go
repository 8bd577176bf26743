package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	pingSize  = 64
	blockSize = 1 << 20 // of writes, and of the server's reads
	warmUp    = 100     // messages before those that count
)

// A request is a letter and a count of 8 bytes.
const (
	reqPing  = 'p' // that many messages come, each is sent back
	reqWrite = 'w' // that many bytes come, then one byte is the answer
)

// serve answers requests on a connection until its end.
func serve(c net.Conn) error {
	defer c.Close()
	var head [9]byte
	var block []byte // made when something is written: dials need none
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		n := int64(binary.BigEndian.Uint64(head[1:]))
		var err error
		switch head[0] {
		case reqPing:
			err = echo(c, n)
		case reqWrite:
			if block == nil {
				block = make([]byte, blockSize)
			}
			err = drain(c, n, block)
		default:
			err = fmt.Errorf("a request of kind %q", head[0])
		}
		if err != nil {
			return err
		}
	}
}

func echo(c net.Conn, n int64) error {
	var msg [pingSize]byte
	for range n {
		if _, err := io.ReadFull(c, msg[:]); err != nil {
			return err
		}
		if _, err := c.Write(msg[:]); err != nil {
			return err
		}
	}
	return nil
}

func drain(c net.Conn, n int64, block []byte) error {
	for n > 0 {
		k, err := c.Read(block[:min(n, int64(len(block)))])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	_, err := c.Write([]byte{reqWrite})
	return err
}

// acceptAll serves every connection of a listener, as wrap makes it, until that
// is closed.
func acceptAll(lis net.Listener, wrap func(net.Conn, error) (net.Conn, error)) error {
	for {
		c, err := wrap(lis.Accept())
		if err != nil {
			return err
		}
		go serve(c)
	}
}

// Net is what a client measures of one kind of connection.
type Net struct {
	Dial   []int64 `json:"dial_ns"`   // from the call to its return
	Answer []int64 `json:"answer_ns"` // from the call to the first message back
	RTT    []int64 `json:"rtt_ns"`    // of 64 bytes there and back
	Bytes  int64   `json:"bytes"`     // written in blocks of 1 MB
	Write  int64   `json:"write_ns"`  // from the first write to the answer that all came
}

// dialer makes one more connection with the server.
type dialer func(context.Context) (net.Conn, error)

// client connects, calls ready, waits for its CPUs and measures.
func client(ctx context.Context, dial dialer, ready func() error, p plan) (r Net, err error) {
	c, err := dial(ctx) // does not count: it may be what introduces the nodes to each other
	if err != nil {
		return r, err
	}
	defer c.Close()
	if _, err := pings(c, 1); err != nil {
		return r, err
	}
	if err := ready(); err != nil {
		return r, err
	}
	if err := p.awaitCPUs(10 * time.Second); err != nil {
		return r, err
	}
	for range p.dials {
		if err := r.dial(ctx, dial); err != nil {
			return r, err
		}
		if _, err := pings(c, 2); err != nil { // the server is at rest again
			return r, err
		}
	}
	if p.pings > 0 {
		if _, err := pings(c, min(warmUp, p.pings)); err != nil {
			return r, err
		}
		if r.RTT, err = pings(c, p.pings); err != nil {
			return r, err
		}
	}
	if p.bytes > 0 {
		r.Bytes = p.bytes
		r.Write, err = writes(c, p.bytes)
	}
	return r, err
}

// dial makes one connection, sends a message there and back, and sees the
// server close its end.
func (r *Net) dial(ctx context.Context, dial dialer) error {
	begin := time.Now()
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	connected := time.Since(begin)
	if _, err := pings(c, 1); err != nil {
		return err
	}
	r.Answer = append(r.Answer, int64(time.Since(begin)))
	r.Dial = append(r.Dial, int64(connected))
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

func request(c net.Conn, kind byte, n int64) error {
	var head [9]byte
	head[0] = kind
	binary.BigEndian.PutUint64(head[1:], uint64(n))
	_, err := c.Write(head[:])
	return err
}

// pings sends n messages, each when the one before is back.
func pings(c net.Conn, n int) (ns []int64, err error) {
	if err := request(c, reqPing, int64(n)); err != nil {
		return nil, err
	}
	var msg [pingSize]byte
	ns = make([]int64, n)
	last := time.Now()
	for i := range ns {
		if _, err := c.Write(msg[:]); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, msg[:]); err != nil {
			return nil, err
		}
		now := time.Now()
		ns[i] = int64(now.Sub(last))
		last = now
	}
	return ns, nil
}

// writes sends n bytes in blocks and waits for the answer that they came.
func writes(c net.Conn, n int64) (ns int64, err error) {
	block := make([]byte, blockSize)
	for i := range block {
		block[i] = byte(i)
	}
	if err := request(c, reqWrite, n); err != nil {
		return 0, err
	}
	begin := time.Now()
	for n > 0 {
		k, err := c.Write(block[:min(n, blockSize)])
		if err != nil {
			return 0, err
		}
		n -= int64(k)
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return 0, err
	}
	return int64(time.Since(begin)), nil
}
