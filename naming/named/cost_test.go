package named

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/naming/tree"
)

// long says that tests may take minutes.
func long() bool { return os.Getenv("SIGMA_LONG") != "" }

// fill makes files named f%08d in a directory, many at once.
func fill(t testing.TB, dir tree.File, from, to int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	const writers = 64
	for w := range writers {
		wg.Go(func() {
			for i := from + w; i < to; i += writers {
				if _, err := dir.Create(ctx, fmt.Sprintf("f%08d", i), tree.NewFile{Mode: tree.ModeFile | 0o644, Exclusive: true}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The 100,000th file of a directory costs etcd what the first one did.
func TestCreateCostsTheSameInALargeDirectory(t *testing.T) {
	realm := newRealm(t)
	h := newHost(t, "na", nil)
	dir := mkdir(t, h.root(t, realm, "alice"), "d", 0o755)
	n := 3000
	if long() {
		n = 100_000
	}
	cost := func(from int) (costs [][2]int64) {
		for i := range 20 {
			h.line.ops.Store(0)
			h.line.bytes.Store(0)
			h.line.counting.Store(true)
			fill(t, dir, from+i, from+i+1)
			h.line.counting.Store(false)
			costs = append(costs, [2]int64{h.line.ops.Load(), h.line.bytes.Load()})
		}
		return costs
	}
	first := cost(0)
	fill(t, dir, 20, n-20)
	last := cost(n - 20)
	for i := range first {
		if first[i] != first[0] || last[i] != first[0] {
			t.Fatalf("create %d of %d: %d operations, %d bytes; the first create: %d, %d", n-20+i, n, last[i][0], last[i][1], first[0][0], first[0][1])
		}
	}
	if ops, bytes := first[0][0], first[0][1]; ops != 2 || bytes > 500 {
		t.Errorf("a create is %d operations of %d bytes, want the file at its entry's key, and the log", ops, bytes)
	}
	// A rename in it does not rewrite it either.
	h.line.ops.Store(0)
	h.line.counting.Store(true)
	if err := dir.Rename(tctx(t), "f00000000", dir, "g00000000"); err != nil {
		t.Fatal(err)
	}
	if ops := h.line.ops.Load(); ops != 3 {
		t.Errorf("a rename is %d operations, want two entries, the log", ops)
	}
}

func benchTree(b *testing.B) (*host, tree.File) {
	h := newHost(b, "na", nil)
	return h, h.root(b, newRealm(b), "alice")
}

// BenchmarkEtcd and BenchmarkNamed are to be compared with each other, in one
// run.
func BenchmarkEtcd(b *testing.B) {
	c, ctx := etcd(b), context.Background()
	b.Run("put", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := c.Put(ctx, fmt.Sprint("bench/", i), "x"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("put-64-clients", func(b *testing.B) {
		parallel(b, func(w, i int) error {
			_, err := c.Put(ctx, fmt.Sprint("bench/", w, "/", i), "x")
			return err
		})
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Get(ctx, "bench/0"); err != nil {
				b.Fatal(err)
			}
		}
	})
	c.Delete(ctx, "bench/", clientv3.WithPrefix())
}

func BenchmarkNamed(b *testing.B) {
	_, root := benchTree(b)
	ctx := context.Background()
	made := tree.NewFile{Mode: tree.ModeFile | 0o644, Exclusive: true}
	b.Run("create", func(b *testing.B) {
		dir := mkdir(b, root, fmt.Sprint("c", b.N, time.Now().UnixNano()), 0o755)
		for i := 0; b.Loop(); i++ {
			if _, err := dir.Create(ctx, fmt.Sprint("f", i), made); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("create-64-clients", func(b *testing.B) {
		dir := mkdir(b, root, fmt.Sprint("p", b.N, time.Now().UnixNano()), 0o755)
		parallel(b, func(w, i int) error { return second(dir.Create(ctx, fmt.Sprint("f", w, "-", i), made)) })
	})
	put(b, root, "f", "x")
	b.Run("put", func(b *testing.B) {
		for b.Loop() {
			if _, err := root.Put(ctx, "f", tree.Put{Data: []byte("y")}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			f, err := root.Walk(ctx, "f")
			if err == nil {
				_, _, err = f.(*file).Get(ctx, 1<<20)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	large := mkdir(b, root, "large", 0o755)
	fill(b, large, 0, 100_000)
	b.Run("list-100k", func(b *testing.B) {
		for b.Loop() {
			n, after := 0, ""
			for {
				page, err := large.ReadDir(ctx, after, tree.MaxPage)
				if err != nil {
					b.Fatal(err)
				}
				if n += len(page); len(page) < tree.MaxPage {
					break
				}
				after = page[len(page)-1].Name
			}
			if n != 100_000 {
				b.Fatalf("%d entries", n)
			}
		}
	})
	b.Run("create-in-100k", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := large.Create(ctx, fmt.Sprint("g", time.Now().UnixNano(), i), made); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkInterleaved takes one of each in turn, so that what else the machine
// does meets all alike, and reports medians.
func BenchmarkInterleaved(b *testing.B) {
	_, root := benchTree(b)
	c, ctx := etcd(b), context.Background()
	small, large := mkdir(b, root, "small", 0o755), mkdir(b, root, "large", 0o755)
	fill(b, large, 0, 100_000)
	made := tree.NewFile{Mode: tree.ModeFile | 0o644, Exclusive: true}
	what := []struct {
		name string
		fn   func(i int) error
	}{
		{"etcd-put", func(i int) error { return second(c.Put(ctx, fmt.Sprint("bench/", i), "x")) }},
		{"create-1st", func(i int) error { return second(small.Create(ctx, fmt.Sprintf("n%08d", i), made)) }},
		{"create-100kth", func(i int) error { return second(large.Create(ctx, fmt.Sprintf("n%08d", i), made)) }},
		{"put", func(int) error { return second(root.Put(ctx, "f", tree.Put{Data: []byte("x")})) }},
		{"rename", func(i int) error { return large.Rename(ctx, fmt.Sprintf("n%08d", i), large, fmt.Sprintf("m%08d", i)) }},
	}
	put(b, root, "f", "x")
	times := make([][]float64, len(what))
	n := 0
	for b.Loop() {
		for j, w := range what {
			began := time.Now()
			if err := w.fn(n); err != nil {
				b.Fatalf("%s: %v", w.name, err)
			}
			times[j] = append(times[j], float64(time.Since(began).Nanoseconds())/1e6)
		}
		n++
	}
	b.ReportMetric(0, "ns/op")
	for j, w := range what {
		slices.Sort(times[j])
		b.ReportMetric(times[j][n/2], w.name+"-ms")
	}
	c.Delete(ctx, "bench/", clientv3.WithPrefix())
}

// parallel runs b.N calls by 64 clients.
func parallel(b *testing.B, fn func(w, i int) error) {
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < b.N; i += 64 {
				if err := fn(w, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
