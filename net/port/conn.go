package port

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"sigmaos/net/pki"
)

// Conn is a connection of a node, over TLS.
type Conn struct {
	*tls.Conn
	peer pki.Peer
	set  *openSet // nil for one that was dialled
}

// Peer is the node on the other side.
func (c *Conn) Peer() pki.Peer { return c.peer }

// goodbyeTime bounds TLS's goodbye, which would wait 5 s for a peer that hangs.
const goodbyeTime = 200 * time.Millisecond

// Close ends the connection.
func (c *Conn) Close() error {
	if c.set != nil {
		c.set.remove(c)
	}
	late := time.AfterFunc(goodbyeTime, c.abort)
	defer late.Stop()
	return c.Conn.Close()
}

// abort ends it without a word: a TLS goodbye may block.
func (c *Conn) abort() { c.NetConn().Close() }

// rewound gives the first byte of a handshake once more.
type rewound struct {
	*net.TCPConn
	first bool // of the reading side alone
}

func (r *rewound) Read(b []byte) (int, error) {
	if r.first && len(b) > 0 {
		r.first = false
		b[0] = FirstTLS
		return 1, nil
	}
	return r.TCPConn.Read(b)
}

// openSet holds the connections that came in and are not closed.
type openSet struct {
	max int

	mu     sync.Mutex
	closed bool
	conns  map[*Conn]struct{}
}

func (s *openSet) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= s.max {
		return false
	}
	if s.conns == nil {
		s.conns = make(map[*Conn]struct{})
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *openSet) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *openSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// close lets nothing in any more and aborts what there is; its owners notice.
func (s *openSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		c.abort()
	}
}
