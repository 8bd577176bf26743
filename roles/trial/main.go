package trial

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"

	"sigmaos/internal/clock"
)

// ProcessName is argv[0] of the three processes. Home's first argument is a
// directory; those that it starts have their names as second one.
const ProcessName = "sigmad-trial"

// Main is one of the processes. It ends when its standard input does.
func Main() int {
	runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2)) // as sigmad
	signal.Ignore(os.Interrupt)                    // of a terminal: who started us decides
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var err error
	switch len(os.Args) {
	case 2:
		err = home(os.Args[1], in, out)
	case 3:
		err = follow(os.Args[1], os.Args[2], in, out)
	default:
		err = fmt.Errorf("usage: %s DIR [NAME]", ProcessName)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", ProcessName, err)
		return 1
	}
	return 0
}

// home starts the others and measures what it is asked to.
func home(dir string, in *json.Decoder, out *json.Encoder) (err error) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // the callers are other processes elsewhere
	c, err := startCluster(dir)
	if err != nil {
		return err
	}
	defer func() {
		if e := c.close(); err == nil {
			err = e
		}
	}()
	ctx, end := context.WithCancel(context.Background())
	runs := make(chan Run)
	go func() { // ends with the process
		defer end()
		for {
			var r Run
			if in.Decode(&r) != nil {
				return
			}
			select {
			case runs <- r:
			case <-ctx.Done():
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-runs:
			ran, err := c.measure(ctx, r)
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				err = out.Encode(ran)
			}
			if err != nil {
				return err
			}
		}
	}
}

// What home and the others say to each other, a line each, beginning with where the
// other one listens.
type (
	listens struct {
		Addr string `json:"addr"`
	}
	meeting struct {
		Members []member `json:"members"`
	}
	// asked has the other one say what it has done so far.
	asked struct{}
	used  struct {
		Accepted int64 `json:"accepted"` // procs that came to the doorstep
		CPU      int64 `json:"cpu_ns"`
	}
)

// follow is one of the others.
func follow(dir, name string, in *json.Decoder, out *json.Encoder) error {
	p, err := listen(dir, name)
	if err != nil {
		return err
	}
	defer p.close()
	if err := out.Encode(listens{p.port.Addr().String()}); err != nil {
		return err
	}
	var m meeting
	if err := in.Decode(&m); err != nil {
		return err
	}
	if err := p.meet(m.Members); err != nil {
		return err
	}
	for {
		if err := out.Encode(used{p.door.count(), int64(clock.CPU())}); err != nil {
			return err
		}
		if err := in.Decode(new(asked)); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
