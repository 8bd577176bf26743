package sigma

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/resolve/over9p"
	"sigmaos/naming/tree"
	"sigmaos/net/fdpass"
)

// Names is a realm's name space as a program sees it: files, directories, links
// and servers, by path. [Client.Names] gives the usual one, [Term.Names] one whose
// writes are refused once the term is over.
//
// Reads, and writes that change nothing the second time, are tried again for a few
// seconds when a server is lost on the way; others fail with kind Unavailable, and
// may or may not have been done.
type Names struct {
	c       *Client
	r       *resolve.Resolver[*server]
	servers *servers

	published published

	mu   sync.Mutex
	self *api.ClusterInfo
}

const (
	retryTime = 5 * time.Second // until a lost server is given up: a dead leader is followed by then
	// serviceLink begins the target of an endpoint link to a part of σOS:
	// svc:NAME@NODE.
	serviceLink = "svc:"
)

// Names is the realm's name space.
func (c *Client) Names() *Names {
	c.namesOnce.Do(func() { c.names = newNames(c, nil) })
	return c.names
}

func newNames(c *Client, fence *tree.Fence) *Names {
	n := &Names{c: c, servers: newServers(c.dialRaw, fence)}
	n.published.n = n
	n.r = resolve.New(resolve.Config[*server]{
		Root: n.r0, Dial: n.dial, Here: n.here, Stat: func(ctx context.Context, s *server, names []string) (tree.Attr, *resolve.Stop, error) {
			return s.Stat(ctx, names)
		}, Node: n.node,
	})
	return n
}

// Close ends the connections that Names keeps. It can be used again.
func (n *Names) Close() { n.servers.close() }

// dial reaches the server behind an endpoint link.
func (n *Names) dial(ctx context.Context, link tree.Attr) (*server, error) {
	if link.Published {
		return nil, api.E(api.NotDir, "open", "", "a published service outside; it can be dialled, but has no files")
	}
	t := api.Target{Endpoint: api.Endpoint(link.Target)}
	if name, ok := strings.CutPrefix(link.Target, serviceLink); ok {
		service, node, _ := strings.Cut(name, "@")
		t = api.Target{Service: service, Node: node}
	}
	if t == (api.Target{}) || t == rootTarget {
		return nil, api.E(api.NotFound, "open", "", "the link leads nowhere")
	}
	return n.servers.get(ctx, t)
}

// dialRaw connects for files: on one node descriptors may come over it.
func (c *Client) dialRaw(ctx context.Context, t api.Target) (ninep.Conn, error) {
	if c.outside != nil {
		return c.outside(ctx, t)
	}
	var conn *fdpass.Conn
	err := c.stream(ctx, wire.TDial, wire.EncodeDial(t), func(a answer) (err error) {
		if a.fd < 0 {
			return errNoDescriptor
		}
		conn, err = fdpass.New(a.fd, fdpass.Take)
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// here reports whether a link's server is on this proc's node.
func (n *Names) here(link tree.Attr) bool {
	i, err := n.info()
	if err != nil {
		return false
	}
	if _, node, ok := strings.Cut(link.Target, "@"); ok && strings.HasPrefix(link.Target, serviceLink) {
		return node == i.Node
	}
	node, _, _, ok := api.Endpoint(link.Target).Parse()
	return ok && node == i.Number
}

// node is the name of this proc's node, as entries of /ux have it.
func (n *Names) node() string {
	i, err := n.info()
	if err != nil {
		return ""
	}
	return i.Node
}

// info describes the node that this client talks to.
func (n *Names) info() (*api.ClusterInfo, error) {
	n.mu.Lock()
	i := n.self
	n.mu.Unlock()
	if i != nil {
		return i, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), serverTime)
	defer cancel()
	i = new(api.ClusterInfo)
	err := n.c.Stream(ctx, wire.TCall, wire.Call{Method: api.MInfo}.Encode(), func(p []byte) error {
		a, err := wire.DecodeCall(p)
		if err != nil {
			return err
		}
		return json.Unmarshal(a.Body, i)
	})
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.self = i
	return i, nil
}

// op does one thing at a server.
type op func(ctx context.Context, s *server, names []string) (ninep.Walked, error)

// do resolves path and does fn there. again says that it may be done twice.
func (n *Names) do(ctx context.Context, path string, again bool, fn op) error {
	deadline := time.Now().Add(retryTime)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		tried := false
		err := n.r.Do(ctx, path, func(ctx context.Context, s *server, names []string) (*resolve.Stop, error) {
			tried = true
			w, err := fn(ctx, s, names)
			if err == nil && w.Link {
				tried = false // it was not done
			}
			return over9p.StopAt(w), err
		})
		if api.KindOf(err) != api.Unavailable || tried && !again || time.Now().Add(pause).After(deadline) {
			return askedOf(err, path)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// askedOf is an error of a server that knows a path from its own root on, or has
// nothing but the last name of it, as one of the whole path.
func askedOf(err error, path string) error {
	e, ok := err.(*api.Error)
	if !ok || e.Subject == "" || e.Subject[0] == '/' || path == "" || path[0] != '/' {
		return err
	}
	whole := *e
	whole.Subject = path
	return &whole
}
