package roles

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/net/rpc"
)

// methodEndpoints asks a node for a realm's endpoints there.
const methodEndpoints = "ep.list"

// askTime bounds a question to all nodes: one that hangs is left out.
const askTime = 2 * time.Second

// listEndpoints lists a realm's endpoints on all nodes that answer.
func (s *System) listEndpoints(ctx context.Context, realm string) ([]api.EndpointInfo, error) {
	out := s.Proxy.List(realm)
	for _, b := range s.askAll(ctx, methodEndpoints, []byte(realm)) {
		var more []api.EndpointInfo
		if err := json.Unmarshal(b, &more); err == nil {
			out = append(out, more...)
		}
	}
	return out, nil
}

func (s *System) serveEndpoints(_ context.Context, r *rpc.Request) ([]byte, error) {
	p, err := s.proxyNow()
	if err != nil {
		return nil, err
	}
	return json.Marshal(p.List(string(r.Body)))
}

// askAll asks every other node and returns the answers that came in time.
func (s *System) askAll(ctx context.Context, method string, req []byte) (out [][]byte) {
	if s.Gossip == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, m := range s.Gossip.Members() {
		if m.Number == s.nodeNum {
			continue
		}
		wg.Go(func() {
			b, err := (others{s}).Call(ctx, m.Number, method, req)
			if err != nil {
				s.Log.Debug("a node does not answer", "node", m.Name, "method", method, "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, b)
		})
	}
	wg.Wait()
	return out
}
