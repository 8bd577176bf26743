package roles

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// maxProbe bounds one probe of etcd.
const maxProbe = 100_000

// probeEtcd measures raw puts and gets, for the bench that compares names with
// them.
func (s *System) probeEtcd(ctx context.Context, q api.EtcdProbe) (out api.EtcdProbed, err error) {
	if q.Puts < 0 || q.Gets < 0 || q.Puts > maxProbe || q.Gets > maxProbe || q.Size < 0 || q.Size > 64<<10 || q.Callers < 0 || q.Callers > 256 {
		return out, api.E(api.Invalid, "probe", "", "out of bounds")
	}
	const key = "/sigma/v1/probe"
	value := strings.Repeat("x", q.Size)
	run := func(count int, do func(i int) error) (ns []int64, err error) {
		ns = make([]int64, count)
		var wg sync.WaitGroup
		var mu sync.Mutex
		callers := max(1, min(q.Callers, count))
		for w := range callers {
			wg.Go(func() {
				for i := w; i < count; i += callers {
					begin := time.Now()
					derr := do(i)
					ns[i] = int64(time.Since(begin))
					if derr != nil {
						mu.Lock()
						err = derr
						mu.Unlock()
						return
					}
				}
			})
		}
		wg.Wait()
		return ns, err
	}
	begin := time.Now()
	out.PutNS, err = run(q.Puts, func(i int) error {
		_, err := s.etcd.Put(ctx, fmt.Sprintf("%s/%d", key, i), value)
		return err
	})
	out.WallNS = int64(time.Since(begin))
	if err == nil {
		out.GetNS, err = run(q.Gets, func(int) error { _, err := s.etcd.Get(ctx, key+"/0"); return err })
	}
	if err == nil && q.Puts > 1 {
		_, err = s.etcd.Delete(ctx, key, clientv3.WithPrefix())
	}
	if err != nil {
		return out, api.E(api.Unavailable, "probe", "", "etcd: %v", err)
	}
	out.Writes, out.Bytes = s.counted.writes.Load(), s.counted.bytes.Load()
	return out, nil
}
