package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"sigmaos/api"
)

// What the paper's Table 4 has, a second.
const (
	paperBesched = 53_306
	paperLcsched = 50_144
)

const (
	placeRounds  = 5
	placeSeconds = 3
	mostUnderWay = 4096
	batchWait    = 5.0 // ms
)

// placeRun and placeRan are what roles/trial is asked and answers, a line each.
type placeRun struct {
	Class   string  `json:"class"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate,omitempty"`
}

type placeRan struct {
	Spawned    int              `json:"spawned"`
	Accepted   int              `json:"accepted"`
	Node       int              `json:"node"`
	Distinct   int              `json:"distinct"`
	Error      string           `json:"error"`
	Most       int              `json:"most"`
	Value      float64          `json:"value"`
	P50        int64            `json:"p50_ns"`
	P99        int64            `json:"p99_ns"`
	Descriptor int              `json:"descriptor"`
	CPU        map[string]int64 `json:"cpu_ns"`
	Batch      struct {
		P50 int64 `json:"p50_ns"`
		P99 int64 `json:"p99_ns"`
		Max int64 `json:"max_ns"`
	} `json:"batch"`
}

// Place is how many procs one shard of the best-effort queue, and lcsched, place in a
// second. Who spawns, the shard and the node that takes the procs are a process each
// (roles/trial says what they do and what not).
func Place(ctx context.Context, _ Cluster, o Options) (r Result, err error) {
	b, err := startTrial(o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	seconds, rounds := o.Seconds, o.N
	if seconds == 0 {
		seconds = placeSeconds
	}
	if rounds == 0 {
		rounds = placeRounds
	}
	sides := []*placeSide{
		{row: "besched", class: api.BE, against: "the paper's besched shard", paper: paperBesched},
		{row: "lcsched", class: api.LC, against: "the paper's lcsched", paper: paperLcsched},
	}
	for i := range rounds {
		for _, s := range sides {
			ran, err := b.run(ctx, placeRun{Class: s.class.String(), Seconds: seconds})
			if err != nil {
				return r, err
			}
			fmt.Fprintf(o.Log, "round %d of %d: %s %.0f/s\n", i+1, rounds, s.row, ran.Value)
			s.full, s.cpu = append(s.full, ran.Value), ran.CPU
			s.note(ran)
		}
	}
	for _, s := range sides {
		if s.half, err = b.run(ctx, placeRun{Class: s.class.String(), Seconds: 2 * seconds, Rate: median(s.full) / 2}); err != nil {
			return r, err
		}
		s.note(s.half)
	}
	r = sides[0].result()
	r.Rows = []Result{sides[1].result()}
	r.Checks = placeChecks(sides)
	return r, nil
}

// placeSide is one row under way.
type placeSide struct {
	row, against string
	class        api.Class
	paper        float64

	full []float64 // a second, by round
	cpu  map[string]int64
	half placeRan

	spawned, accepted, node, distinct, most, descriptor int
	failed                                              string
}

func (s *placeSide) note(r placeRan) {
	s.spawned += r.Spawned
	s.accepted += r.Accepted
	s.node += r.Node
	s.distinct += r.Distinct
	s.most = max(s.most, r.Most)
	s.descriptor = r.Descriptor
	if s.failed == "" {
		s.failed = r.Error
	}
}

func (s *placeSide) result() Result {
	r := Result{Bench: "place", Row: s.row, Unit: "placements/s", N: s.accepted, Against: s.against, AgainstValue: s.paper}
	r.rounds(s.full)
	r.Ratio = r.Value / s.paper
	r.P50, r.P99 = float64(s.half.P50)/1e6, float64(s.half.P99)/1e6
	us := func(part string) float64 { return float64(s.cpu[part]) / 1e3 }
	r.Note = fmt.Sprintf("p50 and p99 are ms at %.0f/s, from the moment at which a Spawn was due until its caller knows that the node has the proc. CPU time of one placement at the full rate: caller and home %.1f µs, %s %.1f, node %.1f",
		s.half.Value, us("home"), s.row, us("shard"), us("node"))
	return r
}

// placeChecks are what must be so for the figures to be what they are said to be.
func placeChecks(sides []*placeSide) (out []Check) {
	once := Check{Name: "accepted once", OK: true}
	under := Check{Name: "under way", OK: true}
	batch := Check{Name: "batches", OK: true}
	var texts [3][]string
	for _, s := range sides {
		ok := s.failed == "" && s.spawned > 0 && s.accepted == s.spawned && s.node == s.spawned && s.distinct == s.spawned
		text := fmt.Sprintf("%s: of %d Spawns, each with a descriptor of its own of %d bytes, %d were accepted, %d by the node's count, under %d ids", s.row, s.spawned, s.descriptor, s.accepted, s.node, s.distinct)
		if s.failed != "" {
			text += " (" + s.failed + ")"
		}
		once.OK, texts[0] = once.OK && ok, append(texts[0], text)
		under.OK, texts[1] = under.OK && s.most <= mostUnderWay, append(texts[1], fmt.Sprintf("%s: at most %d", s.row, s.most))
		b := s.half.Batch
		batch.OK = batch.OK && float64(b.P99)/1e6 <= batchWait
		texts[2] = append(texts[2], fmt.Sprintf("%s: what the caller's node sends waits for the call before it, which took %.2f ms (p50), %.2f (p99), %.2f at most", s.row, float64(b.P50)/1e6, float64(b.P99)/1e6, float64(b.Max)/1e6))
	}
	once.Text, under.Text, batch.Text = strings.Join(texts[0], "; "), strings.Join(texts[1], "; "), strings.Join(texts[2], "; ")
	part := Check{Name: "what is part of it", OK: true, Text: "three processes, which speak over TLS with both sides' certificates as nodes do: Spawn and WaitExit of the caller's schedd, called in its process (no control channel); queue or table; the node's schedd up to the moment at which it would take a σcontainer for the proc. There it is ended as refused: no program runs. Members and lcsched's epoch are given (no gossip, no etcd), and the node claims room for all that may be under way"}
	return []Check{once, under, batch, part}
}

// trialProcess is the process of the caller and its home, which starts the others.
type trialProcess struct {
	dir  string
	cmd  *exec.Cmd
	pipe io.Closer
	in   *json.Encoder
	out  *json.Decoder
}

func startTrial(o Options) (_ *trialProcess, err error) {
	t := &trialProcess{}
	if t.dir, err = newDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(t.dir))
		}
	}()
	t.cmd = exec.Command(o.Sigmad)
	t.cmd.Args = []string{"sigmad-trial", t.dir}
	t.cmd.Stderr = o.Log
	in, err := t.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", o.Sigmad, err)
	}
	t.pipe, t.in, t.out = in, json.NewEncoder(in), json.NewDecoder(out)
	return t, nil
}

// run has it measure. When ctx ends it is left to stop.
func (t *trialProcess) run(ctx context.Context, r placeRun) (ran placeRan, err error) {
	if err := t.in.Encode(r); err != nil {
		return ran, fmt.Errorf("bench: the processes of the trial have ended: %w", err)
	}
	got := make(chan error, 1)
	go func() { got <- t.out.Decode(&ran) }()
	select {
	case err = <-got:
	case <-ctx.Done():
		t.pipe.Close()
		late := time.AfterFunc(stopTime, func() { t.cmd.Process.Kill() })
		<-got // it ends
		late.Stop()
		return ran, ctx.Err()
	}
	if err != nil {
		return ran, fmt.Errorf("bench: the processes of the trial have ended: %w", err)
	}
	return ran, nil
}

func (t *trialProcess) stop() error {
	t.pipe.Close()
	late := time.AfterFunc(stopTime, func() { t.cmd.Process.Kill() })
	defer late.Stop()
	return errors.Join(t.cmd.Wait(), os.RemoveAll(t.dir))
}
