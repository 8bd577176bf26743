package postgres

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sigmaos/api"
)

// Codes of PostgreSQL's first messages.
const (
	protocol3     = 3 << 16
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
)

// Bounds of a first message and of the time for it.
const (
	maxStartup  = 10_000 // as PostgreSQL has it
	startupTime = 15 * time.Second
)

// startup is a first message.
type startup struct {
	code   uint32
	params map[string]string
	cancel key
}

// Serve connects one proc with the realm's database, until either ends. It closes
// the connection.
func (s *Server) Serve(ctx context.Context, proc net.Conn, r Realm) {
	defer proc.Close()
	proc.SetDeadline(time.Now().Add(startupTime))
	m, err := readStartup(proc)
	if err != nil {
		if api.KindOf(err) == api.Invalid {
			refuse(proc, err)
		}
		return
	}
	if m.code == cancelRequest {
		s.cancel(ctx, r, m.cancel)
		return
	}
	c, release, err := s.open(ctx, r, m.params)
	if err != nil {
		refuse(proc, err)
		return
	}
	defer release()
	at := s.realm(r.ID)
	h, err := c.Hijack()
	if err != nil {
		c.Close(ctx)
		refuse(proc, api.E(api.Internal, "db", "", "%v", err))
		return
	}
	defer h.Conn.Close()
	k := key{h.PID, string(h.SecretKey)}
	at.mu.Lock()
	at.keys[k] = true
	at.mu.Unlock()
	defer func() {
		at.mu.Lock()
		delete(at.keys, k)
		at.mu.Unlock()
	}()
	if _, err := proc.Write(welcome(h, m.code)); err != nil {
		return
	}
	proc.SetDeadline(time.Time{})
	pass(ctx, proc, h.Conn)
}

// readStartup reads until the message that says what the proc wants. It has no
// use for encryption: its connection ends in sigmad.
func readStartup(c io.ReadWriter) (m startup, err error) {
	bad := func(format string, args ...any) (startup, error) {
		return startup{}, api.E(api.Invalid, "db", "", format, args...)
	}
	for range 4 {
		var head [8]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return m, err
		}
		n := binary.BigEndian.Uint32(head[:])
		m.code = binary.BigEndian.Uint32(head[4:])
		if n < 8 || n > maxStartup {
			return bad("a first message of %d bytes is not PostgreSQL's protocol", n)
		}
		body := make([]byte, n-8)
		if _, err := io.ReadFull(c, body); err != nil {
			return m, err
		}
		switch {
		case m.code == sslRequest || m.code == gssRequest:
			if _, err := c.Write([]byte{'N'}); err != nil {
				return m, err
			}
		case m.code == cancelRequest:
			if len(body) < 5 || len(body) > 4+256 {
				return bad("a cancellation with a key of %d bytes", len(body)-4)
			}
			m.cancel = key{binary.BigEndian.Uint32(body), string(body[4:])}
			return m, nil
		case m.code>>16 == 3:
			m.params, err = parseParams(body)
			return m, err
		default:
			return bad("protocol %d.%d; 3.0 is spoken", m.code>>16, m.code&0xffff)
		}
	}
	return bad("it asks for encryption again and again")
}

// parseParams reads the parameters of a session. Who and where are not the proc's
// to say.
func parseParams(b []byte) (map[string]string, error) {
	out := make(map[string]string)
	for len(b) > 0 && b[0] != 0 {
		k, rest, ok := bytes.Cut(b, []byte{0})
		v, rest, ok2 := bytes.Cut(rest, []byte{0})
		if !ok || !ok2 || len(out) > 100 {
			return nil, api.E(api.Invalid, "db", "", "the first message's parameters make no sense")
		}
		switch name := string(k); {
		case name == "user", name == "database", name == "replication", bytes.HasPrefix(k, []byte("_pq_.")):
		default:
			out[name] = string(v)
		}
		b = rest
	}
	return out, nil
}

// welcome is what the server said when it let sigmad in.
func welcome(h *pgconn.HijackedConn, asked uint32) []byte {
	var b []byte
	if asked != protocol3 { // a later 3.x, of which this is what is spoken
		b = message(b, 'v', []byte{0, 3, 0, 0, 0, 0, 0, 0})
	}
	b = message(b, 'R', []byte{0, 0, 0, 0})
	for k, v := range h.ParameterStatuses {
		b = message(b, 'S', []byte(k+"\x00"+v+"\x00"))
	}
	b = message(b, 'K', append(binary.BigEndian.AppendUint32(nil, h.PID), h.SecretKey...))
	return message(b, 'Z', []byte{h.TxStatus})
}

// refuse says in PostgreSQL's way why there is no connection.
func refuse(c io.Writer, err error) {
	code := map[api.Kind]string{api.Busy: "53300", api.Denied: "28000", api.Invalid: "08P01", api.Unsupported: "0A000"}[api.KindOf(err)]
	if code == "" {
		code = "08006"
	}
	c.Write(message(nil, 'E', []byte("SFATAL\x00VFATAL\x00C"+code+"\x00M"+err.Error()+"\x00\x00")))
}

func message(b []byte, typ byte, body []byte) []byte {
	b = append(b, typ)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)+4))
	return append(b, body...)
}

// pass copies in both directions until either end is done, or ctx ends. When the
// proc has only said all that it will, the server's last words still reach it.
func pass(ctx context.Context, proc, server net.Conn) {
	stop := context.AfterFunc(ctx, func() { proc.Close(); server.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(server, proc)
		switch c := server.(type) {
		case *net.TCPConn:
			c.CloseWrite()
		case *net.UnixConn:
			c.CloseWrite()
		case *tls.Conn:
			c.CloseWrite()
		}
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
	})
	io.Copy(proc, server)
	proc.Close()
	server.Close()
	wg.Wait()
}

// cancel passes a cancellation on, when it is for a connection of the same realm.
func (s *Server) cancel(ctx context.Context, r Realm, k key) {
	at := s.realm(r.ID)
	at.mu.Lock()
	known := at.keys[k]
	at.mu.Unlock()
	if !known {
		return // as PostgreSQL does, without a word
	}
	c, err := s.config(r, roleOf(r.ID), r.Own, roleOf(r.ID))
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Connect)
	defer cancel()
	network, addr := pgconn.NetworkAddress(c.Host, c.Port)
	conn, err := c.DialFunc(ctx, network, addr)
	if err != nil {
		s.cfg.Logger.Debug("a cancellation", "realm", r.ID, "err", err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(s.cfg.Connect))
	if c.TLSConfig != nil {
		if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
			return
		}
		var yes [1]byte
		if _, err := io.ReadFull(conn, yes[:]); err != nil || yes[0] != 'S' {
			return
		}
		conn = tls.Client(conn, c.TLSConfig)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(12+len(k.secret)))
	b = binary.BigEndian.AppendUint32(b, cancelRequest)
	b = binary.BigEndian.AppendUint32(b, k.pid)
	if _, err := conn.Write(append(b, k.secret...)); err == nil {
		io.Copy(io.Discard, io.LimitReader(conn, 1024)) // its end says that it was taken
	}
}
