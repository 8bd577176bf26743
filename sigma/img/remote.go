package img

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"strings"

	"sigmaos/api"
	"sigmaos/net/rpc"
	"sigmaos/sigma"
)

// Request is one image for a service. Its bytes go beside it, or In is a path of
// the realm; the result comes back, or is written to Out.
type Request struct {
	Options
	In  string `json:"in,omitempty"`
	Out string `json:"out,omitempty"`
}

// Stats are what a service did so far, and does now.
type Stats struct {
	Running  int64 `json:"running"`
	Waiting  int64 `json:"waiting"`
	Done     int64 `json:"done"`
	Failed   int64 `json:"failed"`
	Busy     int64 `json:"busy"` // sent away
	Parallel int   `json:"parallel"`
	Queue    int   `json:"queue"`
}

const frame = MaxImage + 64<<10

func (q *Request) name() string {
	if q.In != "" {
		return q.In
	}
	return "image"
}

func (q *Request) normalize(bytes int) error {
	bad := func(text string) error { return api.E(api.Invalid, "scale", q.name(), "%s", text) }
	switch {
	case q.In != "" && bytes > 0:
		return bad("it has a path and bytes; one of them")
	case q.In != "" && !strings.HasPrefix(q.In, "/"), q.Out != "" && !strings.HasPrefix(q.Out, "/"):
		return bad("a path of the realm begins with /")
	case q.In != "" && q.In == q.Out:
		return bad("the result would replace the image; name another path")
	}
	return q.Options.normalize(q.name())
}

// Client calls a service.
type Client struct{ c *rpc.Client }

// Dial connects with the service that is published at a path.
func Dial(ctx context.Context, c *sigma.Client, path string) (*Client, error) {
	conn, err := c.DialPath(ctx, path)
	if err != nil {
		return nil, err
	}
	return &Client{rpc.NewClient(conn, rpc.Options{MaxFrame: frame})}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.c.Close() }

// Scale has one image scaled. Kind Busy says that too many wait there.
func (c *Client) Scale(ctx context.Context, q Request, data []byte) (r Result, out []byte, err error) {
	if len(data) > MaxImage {
		return r, nil, api.E(api.TooLarge, "scale", q.name(), "%d bytes; at most %d go in a request, put more into a file of the realm and give its path", len(data), MaxImage)
	}
	body, err := pack(q, data)
	if err != nil {
		return r, nil, err
	}
	if body, err = c.c.Call(ctx, "scale", body); err != nil {
		return r, nil, err
	}
	out, err = unpack(body, &r)
	return r, out, err
}

// Stats asks the service what it did.
func (c *Client) Stats(ctx context.Context) (s Stats, err error) {
	b, err := c.c.Call(ctx, "stats", nil)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// A message is the length of a head, the head in JSON, and an image.

func pack(head any, data []byte) ([]byte, error) {
	h, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 4+len(h)+len(data))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h)))
	return append(append(b, h...), data...), nil
}

func unpack(b []byte, head any) (data []byte, err error) {
	bad := func() error { return api.E(api.Invalid, "scale", "", "a message of another form") }
	if len(b) < 4 {
		return nil, bad()
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) || json.Unmarshal(b[4:4+n], head) != nil {
		return nil, bad()
	}
	return b[4+n:], nil
}
