package roles

import (
	"context"
	"fmt"
	"os"
	"time"
)

// WriteJoinToken writes the token that admits a node into a file of its owner's.
func (s *System) WriteJoinToken(ctx context.Context, path string) error {
	t, err := s.joinTokens(ctx)
	if err != nil {
		return err
	}
	os.Remove(path)
	return os.WriteFile(path, []byte(t[0].Text()+"\n"), 0o600)
}

// AwaitNodes returns when the cluster has so many nodes.
func (s *System) AwaitNodes(ctx context.Context, count int) error {
	for {
		n := len(s.nodes())
		if n >= count {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d nodes have joined: %w", n, count, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
