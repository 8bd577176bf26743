package place

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/talk"
	"sigmaos/sched/node"
)

// accepting is a Host whose procs end at once, and that counts what was placed.
type accepting struct {
	e      *Engine
	placed int
}

func (a *accepting) Start(o *Order, _ []api.ProcID) {
	a.e.Ended(o.ID, Result{Status: api.Status{State: api.Exited}}, nil)
}
func (a *accepting) End(api.ProcID, api.State, string, time.Duration) {}
func (a *accepting) Kept(api.ProcID, int)                             {}
func (a *accepting) Placed(api.ProcID, uint16)                        { a.placed++ }
func (a *accepting) Running(api.ProcID, api.Stamps)                   {}
func (a *accepting) Output(api.ProcID, int, []byte)                   {}
func (a *accepting) Finished(api.ProcID, Result)                      {}

// carrier carries messages between engines as bytes, in batches.
type carrier struct {
	engines [4]*Engine
	waiting [4][][2]any // by receiver: sender and bytes
}

func (w *carrier) send(from, to uint16, m any) {
	w.waiting[to] = append(w.waiting[to], [2]any{from, Encode(nil, m)})
}

// pump delivers until nothing is under way.
func (w *carrier) pump(b *testing.B) {
	for more := true; more; {
		more = false
		for to := range w.engines {
			list := w.waiting[to]
			w.waiting[to] = nil
			for i := 0; i < len(list); {
				from := list[i][0].(uint16)
				var batch []any
				for ; i < len(list) && list[i][0].(uint16) == from; i++ {
					m, err := Decode(list[i][1].([]byte))
					if err != nil {
						b.Fatal(err)
					}
					batch = append(batch, m)
				}
				w.engines[to].Receive(talk.Peer{Number: from, Boot: 1}, batch)
				more = true
			}
		}
	}
}

// batch is how many orders go out before their messages do. It is no multiple of what
// one ask may bring, after which a node waits before it asks again.
const batch = 250

// BenchmarkPlace is what one placement costs all three parties together: the home,
// the shard or lcsched, and the node, each another engine, with every message
// encoded and decoded. The node accepts and its procs end at once. There is no socket.
// cpu-ns/op is CPU time, which other work on the machine does not change much.
func BenchmarkPlace(b *testing.B) {
	for _, class := range []api.Class{api.BE, api.LC} {
		b.Run(class.String(), func(b *testing.B) {
			var w carrier
			var hosts [4]*accepting
			roles := [4][]string{1: {}, 2: {"besched", "lcsched"}, 3: {"node"}}
			var members []Member
			for i := uint16(1); i <= 3; i++ {
				h := new(accepting)
				hosts[i] = h
				w.engines[i] = New(Config{
					Self: talk.Peer{Number: i, Boot: 1}, Host: h, Table: node.New(api.MaxMCPU, 1<<45), Queued: 1 << 20,
					Send: func(to uint16, m any) { w.send(i, to, m) }, Watch: func(uint16) {},
					Claim:  func(context.Context) (uint64, error) { return 1, nil },
					Clock:  clock.NewFake(time.Unix(1, 0)), // asks do not expire
					Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
				})
				h.e = w.engines[i]
				defer h.e.Close()
				members = append(members, Member{Number: i, Boot: 1, Roles: roles[i]})
			}
			for _, e := range w.engines[1:] {
				e.SetMembers(members)
				e.wg.Wait()
			}
			w.pump(b)
			d := &api.ProcDesc{Program: "/bin/hello", Args: []string{"one", "two"}, Env: make([]string, 0), Class: class, Memory: 1 << 20, FDs: 64, Threads: 8}
			for len(d.Env) < 8 {
				d.Env = append(d.Env, "KEY=some value of twenty-five bytes")
			}
			if class == api.LC {
				d.MCPU = 1
			}
			b.ReportAllocs()
			before := clock.CPU()
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				for range min(batch, b.N-n) {
					id := api.NewProcID("p", 1, 1)
					if err := w.engines[1].Submit(&Order{ID: id, Realm: "r", Desc: d, Program: api.Program{Name: "p", Digest: "s1-0123456789"}}, nil); err != nil {
						b.Fatal(err)
					}
				}
				w.pump(b)
			}
			b.StopTimer()
			if hosts[1].placed != b.N {
				b.Errorf("%d of %d are placed", hosts[1].placed, b.N)
			}
			b.ReportMetric(float64(clock.CPU()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
