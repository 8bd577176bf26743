package mr

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"sigmaos/sigma/job"
)

// plainRun runs an app with p, and writes its parts into dir, or all of them, in
// the order of keys within each, to out.
func plainRun(app App, args, files []string, p *plain, dir string, report bool, out, errw io.Writer) (err error) {
	if p.job, err = app.New(args); err != nil {
		return err
	}
	open := toDir(dir)
	if dir == "" {
		open = toOne(out)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r, err := p.run(context.Background(), files, open)
	if err == nil && report {
		err = json.NewEncoder(errw).Encode(r)
	}
	return err
}

func toDir(dir string) func(int) (output, error) {
	return func(bin int) (output, error) {
		return disk{}.Create(context.Background(), filepath.Join(dir, fmt.Sprintf("%s%s", partPrefix, job.TaskID(bin))))
	}
}

// toOne writes parts one behind the other, each when it is whole.
func toOne(w io.Writer) func(int) (output, error) {
	var mu sync.Mutex
	return func(int) (output, error) { return &part{w: w, mu: &mu}, nil }
}

type part struct {
	w   io.Writer
	mu  *sync.Mutex // guards w
	buf []byte
}

func (p *part) Write(b []byte) (int, error) {
	p.buf = append(p.buf, b...)
	return len(b), nil
}

func (p *part) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.w.Write(p.buf)
	return err
}

func (p *part) Abandon() error { return nil }
