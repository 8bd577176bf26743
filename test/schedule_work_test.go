package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// works are the kinds of work that go on on every machine.
var works = []string{"starts", "names", "dials"}

// waitBound is how long a wait may last: the longest fault, what the proc does,
// and the time to notice a death and to elect.
const waitBound = 60 * time.Second

// soon is a context that ends by itself after what a healthy node needs.
func (w *world) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// begin starts the clients of all machines.
func (w *world) begin() *history {
	h := &history{begin: time.Now()}
	for _, m := range w.list {
		m.program("testproc")
		m.program("echo")
	}
	ctx := minute(w.t)
	for _, dir := range []string{"/notes", "/svc", "/lin"} {
		if err := w.list[0].Client("default").Names().MkdirAll(ctx, dir, 0o777); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, m := range w.list {
		w.wg.Go(func() { w.starts(m) })
		w.wg.Go(func() { w.serves(m) })
		w.wg.Go(func() { w.dials(m) })
		for k := range 2 {
			w.wg.Go(func() { w.names(m, h, m.i*2+k) })
		}
	}
	w.wg.Go(func() {
		where := make(map[api.ProcID]string)
		for w.sleep(250 * time.Millisecond) {
			w.alive()
			w.sample(where)
		}
	})
	return h
}

// connected calls fn with a connection to the machine until the run ends; fn
// returns when it needs a new one.
func (w *world) connected(m *machine, fn func(c *admin.Client)) {
	for w.sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		c, err := admin.Connect(ctx, admin.Options{Context: m.socket(), Realm: "default"})
		cancel()
		if err != nil {
			continue
		}
		fn(c)
		c.Close()
	}
}

// starts spawns procs of both classes and waits for them. Each wait must end, a
// proc that ended well must have said what it was told, and none may have found
// that it had been started before.
func (w *world) starts(m *machine) {
	n := 0
	w.connected(m, func(c *admin.Client) {
		var open sync.WaitGroup
		defer open.Wait()
		slots := make(chan struct{}, 6)
		broken := make(chan struct{}, 100)
		for w.sleep(30 * time.Millisecond) {
			select {
			case <-broken:
				return
			case slots <- struct{}{}:
			}
			n++
			token := fmt.Sprintf("/notes/%s-%d", m.name(), n)
			d := &api.ProcDesc{Program: "/bin/testproc", Args: []string{"nap", token, fmt.Sprint(w.about(0, 800*time.Millisecond).Milliseconds())}, Memory: 32 << 20}
			if n%4 == 0 {
				d.Class, d.MCPU = api.LC, 100
			}
			open.Go(func() {
				defer func() { <-slots }()
				ctx, cancel := context.WithTimeout(context.Background(), waitBound)
				defer cancel()
				id, err := c.Spawn(ctx, d)
				var st api.Status
				if err == nil {
					defer w.spawnedOne(&st, &err)
					c.WaitStart(ctx, id) // must end; what it says, WaitExit says too
					if st, err = c.WaitExit(ctx, id); err == nil && !st.OK() {
						err = api.E(api.Kind(st.State), "run", string(id), "%s", st.Message)
					}
				}
				switch {
				case ctx.Err() != nil:
					w.violated("a wait for %s on %s did not end within %v", id, m.name(), waitBound)
				case err == nil && st.OK() && string(st.Data) != token:
					w.violated("%s exited with %q, not %q", id, st.Data, token)
				case st.Code == 1:
					w.violated("%s: %s", id, st.Message)
				}
				if w.did("starts", m, err); err != nil {
					broken <- struct{}{}
				}
			})
		}
	})
}

// spawnedOne counts a proc whose Spawn was taken and what was told of its end.
func (w *world) spawnedOne(st *api.Status, err *error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spawned++
	switch {
	case st.State != "":
		w.outcomes[string(st.State)]++
	case *err != nil:
		w.outcomes["errored"]++
	}
}

// serves keeps an echo server with a name on the machine.
func (w *world) serves(m *machine) {
	w.connected(m, func(c *admin.Client) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			select {
			case <-w.stop:
				cancel()
			case <-ctx.Done():
			}
		}()
		id, err := c.Spawn(ctx, &api.ProcDesc{Program: "/bin/echo", Args: []string{"serve", "/svc/" + m.name()}, Class: api.LC, MCPU: 50, Memory: 32 << 20})
		if err != nil {
			w.gone(m, api.Status{}, err)
			w.sleep(200 * time.Millisecond)
			return
		}
		st, err := c.WaitExit(ctx, id)
		if ctx.Err() == nil { // it is to stay
			w.gone(m, st, err)
		} else {
			kctx, kcancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer kcancel()
			c.Kill(kctx, id, 0)
			c.WaitExit(kctx, id)
		}
	})
}

// gone notes why a machine's server is no more.
func (w *world) gone(m *machine, st api.Status, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[m.name()] = fmt.Sprintf("%v, %v", st, err)
}

// dials reaches the servers of the other machines by their names.
func (w *world) dials(m *machine) {
	k := 0
	w.connected(m, func(c *admin.Client) {
		for w.sleep(100 * time.Millisecond) {
			k++
			to := w.list[(m.i+1+k%(len(w.list)-1))%len(w.list)]
			ctx, cancel := context.WithTimeout(context.Background(), waitBound)
			err := echoed(ctx, c, "/svc/"+to.name())
			if ctx.Err() != nil {
				w.violated("a dial from %s to %s did not end within %v", m.name(), to.name(), waitBound)
			}
			cancel()
			if w.did("dials", m, err); err != nil {
				return
			}
		}
	})
}

// echoed sends something to a server by its path and wants it back.
func echoed(ctx context.Context, c *admin.Client, path string) error {
	conn, err := c.DialPath(ctx, path)
	if err != nil {
		return err
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	conn.SetDeadline(end.Add(-time.Second))
	want := bytes.Repeat([]byte("to and fro "), 500)
	go func() {
		conn.Write(want)
		conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%d of %d bytes came back", len(got), len(want))
	}
	return err
}
