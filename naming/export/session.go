package export

import (
	"context"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
	"sigmaos/naming/view"
)

const maxWrong = 3 // tokens on one connection; with one more it ends

// session is what one connection sees: the tree of the caller whose token it
// showed.
type session struct {
	l    *Listener
	from string // the client's address and port
	addr string // whom it counts for among the strangers
	ctx  context.Context
	end  context.CancelFunc // of the connection
	wg   sync.WaitGroup     // of watch

	mu     sync.Mutex
	wrong  int
	token  string     // the last good one; "": none was shown
	caller api.Caller // of token
	fs     *view.FS
	src    Source
}

// late ends a connection that has not shown a token.
func (s *session) late() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" {
		s.end()
	}
}

// close is called when nothing is served any more.
func (s *session) close() {
	s.end()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" {
		s.l.strange.Leave(s.addr)
		return
	}
	s.fs.Close()
	s.src.Close()
	s.l.clients.Leave(s.caller.Realm)
}

// Attach takes the caller from the name that is attached to.
func (s *session) Attach(ctx context.Context, _ api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	token, path, _ := strings.Cut(strings.TrimPrefix(aname, "/"), "/")
	c, err := s.l.cfg.Check(token)
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	c.Node, c.Address = s.l.cfg.Node, s.from
	fs, err := s.enter(c, token)
	if err != nil {
		return nil, err
	}
	return fs.Attach(ctx, c, path, fence)
}

// refuse is the answer to a wrong token. It comes late, and after a few there is
// none.
func (s *session) refuse(ctx context.Context, err error) error {
	s.mu.Lock()
	s.wrong++
	if s.wrong > maxWrong {
		s.end()
	}
	s.mu.Unlock()
	t := time.NewTimer(s.l.cfg.WrongDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return api.E(api.Denied, "attach", "", "%v", err)
}

// enter makes the stranger c, who may show another token of the same user later.
func (s *session) enter(c api.Caller, token string) (*view.FS, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return nil, api.E(api.Unavailable, "attach", "", "the connection ends")
	case s.token != "" && c != s.caller:
		return nil, api.E(api.Denied, "attach", "", "this connection acts as another user; make a new one")
	case s.token == "" && !s.l.clients.Enter(c.Realm):
		return nil, api.E(api.Busy, "attach", "", "the realm, or all together, have their connections with this gateway; close some, or use another")
	case s.token == "":
		s.l.strange.Leave(s.addr)
		s.caller = c
		s.src = s.l.cfg.Open(c)
		s.fs = view.New(view.Config{Source: s.src})
		s.wg.Go(s.watch)
	}
	s.token = token
	return s.fs, nil
}

// watch ends the connection when its token is no good any more.
func (s *session) watch() {
	t := time.NewTicker(s.l.cfg.Recheck)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		token := s.token
		s.mu.Unlock()
		if _, err := s.l.cfg.Check(token); err != nil {
			s.l.cfg.Log.Info("9p: a client's token is no good any more", "realm", s.caller.Realm, "user", s.caller.User, "from", s.from, "why", err)
			s.end()
			return
		}
	}
}
