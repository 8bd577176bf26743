package binfs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/rpc"
)

// What the serving process asks of sigmad, over a socket of its own: it has no
// network.
const (
	askOpen   = "open"
	askChunks = "chunks"
	tellStart = "learned"
)

// askOptions leaves room for the tree of the largest program.
var askOptions = rpc.Options{MaxFrame: 4 << 20, MaxBytes: 256 << 20}

// serveAsk answers the serving process until its socket or ctx ends.
func serveAsk(ctx context.Context, conn io.ReadWriteCloser, c *Chain) error {
	server := rpc.NewServer(askOptions)
	// head goes in front of an answer: who gave it.
	answer := func(from string, b []byte) []byte { return append(append([]byte{byte(len(from))}, from...), b...) }
	ask := func(r *rpc.Request) (q Question, d Digest, err error) {
		if err = json.Unmarshal(r.Body, &q); err == nil {
			d, err = q.check()
		}
		if err != nil {
			err = api.E(api.Invalid, r.Method, "", "%v", err)
		}
		return q, d, err
	}
	server.Handle(askOpen, func(ctx context.Context, r *rpc.Request) ([]byte, error) {
		q, d, err := ask(r)
		if err != nil {
			return nil, err
		}
		v, from, err := c.open(ctx, q.Realm, d)
		if err != nil {
			return nil, api.E(kindOf(err), askOpen, q.Digest, "%v", err)
		}
		return answer(name(from), v.marshal()), nil
	})
	server.Handle(askChunks, func(ctx context.Context, r *rpc.Request) ([]byte, error) {
		q, d, err := ask(r)
		if err != nil {
			return nil, err
		}
		data, from, err := c.chunksOf(ctx, q, d)
		if err != nil {
			return nil, api.E(kindOf(err), askChunks, q.Digest, "%v", err)
		}
		return answer(name(from), data), nil
	})
	server.Handle(tellStart, func(ctx context.Context, r *rpc.Request) ([]byte, error) {
		var l Learned
		if err := json.Unmarshal(r.Body, &l); err != nil {
			return nil, api.E(api.Invalid, r.Method, "", "%v", err)
		}
		if err := c.learned(ctx, l); err != nil {
			return nil, api.E(kindOf(err), tellStart, l.Digest, "%v", err)
		}
		return nil, nil
	})
	return server.ServeConn(ctx, conn, nil)
}

func kindOf(err error) api.Kind {
	if errors.Is(err, os.ErrNotExist) {
		return api.NotFound
	}
	return api.Unavailable
}

func name(s string) string { return s[:min(len(s), 255)] }

// asker is the serving process's end.
type asker struct{ c *rpc.Client }

func newAsker(f *os.File) asker { return asker{rpc.NewClient(f, askOptions)} }

func (a asker) ask(ctx context.Context, method string, q Question) (from string, b []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return "", nil, err
	}
	if b, err = a.c.Call(ctx, method, body); err != nil {
		return "", nil, err
	}
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return "", nil, errors.New("binfs: a damaged answer")
	}
	return string(b[1 : 1+b[0]]), b[1+int(b[0]):], nil
}

func (a asker) open(ctx context.Context, realm string, d Digest) (v opened, from string, err error) {
	from, b, err := a.ask(ctx, askOpen, Question{Realm: realm, Digest: string(d)})
	if err != nil {
		return v, "", err
	}
	o, err := UnmarshalOpening(b)
	if err == nil {
		v, err = o.verify(d)
	}
	return v, from, err
}

func (a asker) chunks(ctx context.Context, realm string, d Digest, t Tree, list []uint32) ([]byte, string, error) {
	from, b, err := a.ask(ctx, askChunks, Question{Realm: realm, Digest: string(d), Chunks: list})
	return b, from, err
}

func (a asker) learned(ctx context.Context, l Learned) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	body, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = a.c.Call(ctx, tellStart, body)
	return err
}

// monotonic is CLOCK_MONOTONIC, ns, as in a proc's stamps.
func monotonic() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}
