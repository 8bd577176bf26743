package roles

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"sigmaos/net/port"
)

// etcdALPN is the service by which nodes without an etcd peer reach one.
const etcdALPN = "sigma-etcd/1"

// tunnelEtcd connects other nodes with this node's etcd, which listens on a
// Unix socket alone.
func (s *System) tunnelEtcd(undo *undoStack) error {
	stop, err := s.Port.Handle(etcdALPN, func(ctx context.Context, c *port.Conn) {
		defer c.Close()
		var d net.Dialer
		e, err := d.DialContext(ctx, "unix", filepath.Join(s.Config.RunDir, "etcd"))
		if err != nil {
			s.Log.Warn("etcd's tunnel", "peer", c.Peer().Name, "err", err)
			return
		}
		defer e.Close()
		end := context.AfterFunc(ctx, func() { c.Close(); e.Close() })
		defer end()
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(e, c); e.Close() })
		io.Copy(c, e)
		c.Close()
		wg.Wait()
	})
	if err == nil {
		undo.add(func() error { stop(); return nil })
	}
	return err
}

// remoteEtcd is a client of whichever node with an etcd peer answers.
func (s *System) remoteEtcd(k shared) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"http://etcd.sigma:1"}, DialTimeout: 5 * time.Second, DialKeepAliveTime: 3 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
		Logger:      zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.dialEtcd(ctx, k) })},
	})
	if err != nil {
		return nil, fmt.Errorf("etcd's client: %w", err)
	}
	return c, nil
}

// dialEtcd tries the nodes that are known to have etcd, then those that may.
func (s *System) dialEtcd(ctx context.Context, k shared) (net.Conn, error) {
	type place struct{ name, addr string }
	var list []place
	if g := s.meeting.Load(); g != nil {
		for _, m := range g.Members() {
			if slices.Contains(m.Roles, "named") && m.Name != s.Config.Node {
				list = append(list, place{m.Name, m.Addr.String()})
			}
		}
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	for _, x := range k.Seeds {
		list = append(list, place{x.Name, x.Addr})
	}
	err := fmt.Errorf("no node with the role named is known")
	for _, p := range list {
		var c net.Conn
		dctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		c, err = s.Port.Dial(dctx, p.addr, p.name, etcdALPN)
		cancel()
		if err == nil {
			return c, nil
		}
	}
	return nil, err
}
