package sigma

import (
	"context"
	"encoding/json"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// InitAdd registers a proc that is started once each time the whole system comes
// back, that is when no node runs that ran before; with now, at once too. What is
// started then is the program's content of today.
func (c *Client) InitAdd(ctx context.Context, name string, d *Desc, now bool) error {
	return c.call(ctx, api.MInitAdd, api.InitProc{Name: name, Desc: *d, Now: now}, nil)
}

// InitList lists the realm's registered procs.
func (c *Client) InitList(ctx context.Context) (list []api.InitProc, err error) {
	return list, c.call(ctx, api.MInitList, nil, &list)
}

// InitRemove forgets one; a proc that runs runs on.
func (c *Client) InitRemove(ctx context.Context, name string) error {
	return c.call(ctx, api.MInitRemove, api.Ref{Name: name}, nil)
}

// Cores is how many best-effort procs can compute at a time, on all nodes that the
// one knows that this program talks to.
func (c *Client) Cores(ctx context.Context) (int, error) {
	var i api.ClusterInfo
	err := c.call(ctx, api.MInfo, nil, &i)
	return i.Cores, err
}

// call is one of the tools' calls.
func (c *Client) call(ctx context.Context, method string, in, out any) error {
	call := wire.Call{Method: method}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		call.Body = b
	}
	return c.Stream(ctx, wire.TCall, call.Encode(), func(p []byte) error {
		a, err := wire.DecodeCall(p)
		if err != nil || out == nil || len(a.Body) == 0 {
			return err
		}
		return json.Unmarshal(a.Body, out)
	})
}
