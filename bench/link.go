package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sigmaos/api"
)

// link is one way in which two processes may talk.
type link interface {
	// open starts a server, and a client with this plan that has connected with it
	// and waits for its CPUs. Both end with ctx.
	open(ctx context.Context, plan []string) (*session, error)
}

// session is a client and a server that are connected.
type session struct {
	server, client int // pids; 0 is not known
	result         func(ctx context.Context) ([]byte, error)
	close          func()
}

// plan is what a client measures; see apps/benchproc.
type plan struct {
	dials, pings int
	bytes        int64
}

func (p plan) args(cpus []int) []string {
	list := "-"
	if len(cpus) > 0 {
		s := make([]string, len(cpus))
		for i, c := range cpus {
			s[i] = strconv.Itoa(c)
		}
		list = strings.Join(s, ",")
	}
	return []string{strconv.Itoa(p.dials), strconv.Itoa(p.pings), strconv.FormatInt(p.bytes, 10), list}
}

// place says where a server and a client run.
type place struct {
	server, client []int // CPUs; empty is anywhere
}

// cpus is how many CPUs a place uses; 0 where it does not say.
func (p place) cpus() int {
	switch {
	case len(p.server) == 0:
		return 0
	case p.server[0] == p.client[0]:
		return 1
	}
	return 2
}

// measured is what a client found in one round.
type measured struct {
	Dial   []int64 `json:"dial_ns"`
	Answer []int64 `json:"answer_ns"`
	RTT    []int64 `json:"rtt_ns"`
	Bytes  int64   `json:"bytes"`
	Write  int64   `json:"write_ns"`
}

// throughput is in MB/s.
func (m measured) throughput() float64 { return float64(m.Bytes) / 1e6 / (float64(m.Write) / 1e9) }

func ms(ns []int64) []float64 {
	out := make([]float64, len(ns))
	for i, v := range ns {
		out[i] = float64(v) / 1e6
	}
	return out
}

// series is a link in a place, round by round.
type series struct {
	name string
	link link
	at   place
	plan plan
	// look is called while both ends are connected and at rest; may be nil.
	look   func(*session) error
	rounds []measured
}

// roundTime bounds a round: none takes a tenth of it.
const roundTime = 60 * time.Second

// round measures once, with a new server and a new client.
func (s *series) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	ses, err := s.link.open(ctx, s.plan.args(s.at.client))
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	defer ses.close()
	if (s.look != nil || s.at.cpus() > 0) && (ses.server == 0 || ses.client == 0) {
		return api.E(api.Unsupported, "bench", s.name, "the procs' pids are not known here: run this on the node itself, through the operator's socket")
	}
	if s.look != nil {
		if err := s.look(ses); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if err := errors.Join(pin(ses.server, s.at.server), pin(ses.client, s.at.client)); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	out, err := ses.result(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	var m measured
	if err := json.Unmarshal(out, &m); err != nil {
		return fmt.Errorf("%s: the client printed %q: %w", s.name, out, err)
	}
	if len(m.Dial) != s.plan.dials || len(m.RTT) != s.plan.pings || m.Bytes != s.plan.bytes {
		return fmt.Errorf("%s: the client measured %d dials, %d messages, %d bytes; asked for were %+v", s.name, len(m.Dial), len(m.RTT), m.Bytes, s.plan)
	}
	s.rounds = append(s.rounds, m)
	return nil
}

// interleave measures n rounds of each, one after the other; each round begins
// with another of them.
func interleave(ctx context.Context, n int, all ...*series) error {
	for i := range n {
		for k := range all {
			err := all[(i+k)%len(all)].round(ctx)
			if ctx.Err() != nil { // what it broke in the middle is not what is wrong
				err = api.E(api.Canceled, "bench", "", "interrupted")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
