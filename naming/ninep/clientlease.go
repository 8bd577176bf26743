package ninep

import (
	"context"
	"time"

	"sigmaos/api"
)

// Grant makes a lease that lasts for ttl without Renew.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (string, error) {
	if err := c.needSigma("lease"); err != nil {
		return "", err
	}
	if ttl <= 0 {
		return "", bad("lease", "a lease lasts more than %v", ttl)
	}
	var l lease
	err := c.do(ctx, "lease", tSgrant, &sgrant{TTL: uint64(ttl.Round(time.Millisecond) / time.Millisecond)}, &l)
	return l.ID, err
}

// Renew gives a lease its time again.
func (c *Client) Renew(ctx context.Context, id string) error {
	return c.onLease(ctx, "renew", tSrenew, id)
}

// Revoke ends a lease and the files that go with it.
func (c *Client) Revoke(ctx context.Context, id string) error {
	return c.onLease(ctx, "revoke", tSrevoke, id)
}

func (c *Client) onLease(ctx context.Context, op string, typ uint8, id string) error {
	if err := c.needSigma(op); err != nil {
		return err
	}
	err := c.do(ctx, op, typ, &lease{ID: id}, &empty{})
	return err
}

func (c *Client) needSigma(op string) error {
	if c.sigma {
		return nil
	}
	return api.E(api.Unsupported, op, "", "the server speaks plain %s, which has no such thing", versionPlain)
}
