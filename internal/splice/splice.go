// Package splice hands connections on.
package splice

import (
	"context"
	"io"
	"net"
	"sync"
)

// Join copies between two connections until one of them ends, or ctx does, and
// closes both.
func Join(ctx context.Context, a, b net.Conn) {
	shut := func() { a.Close(); b.Close() }
	defer context.AfterFunc(ctx, shut)()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(b, a); shut() })
	io.Copy(a, b)
	shut()
	wg.Wait()
}
