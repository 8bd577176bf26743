package img

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/job"
)

// report is what a worker says at its end, as the data of Exited.
type report struct {
	Result
	Refused bool `json:"refused,omitempty"` // the image cannot be scaled, whoever tries
	Retry   bool `json:"retry,omitempty"`   // failed, but not by the image's fault
}

const (
	maxInput = 1 << 30 // of an image's file; less in a worker of less memory
	maxError = 600     // bytes of one that goes into a report
)

// runWorker is the life of a worker.
func runWorker(w *work, fn Func, began time.Time) {
	ctx := context.Background()
	debug.SetMemoryLimit(w.Memory / 10 * 9)
	sigma.Started(ctx)
	time.AfterFunc(w.Limit, func() { // whoever started it may be gone
		w.leave(report{}, api.E(api.Internal, "img", w.In, "it took longer than the limit of %v for one attempt", w.Limit))
	})
	if w.Job != "" {
		go job.Watch(ctx, w.Job)
	}
	r, err := w.scale(ctx, fn)
	r.Start = time.Duration(began.UnixNano() - w.Spawned)
	r.Wall = time.Since(began)
	r.CPU, r.RSS = job.Usage()
	w.leave(r, err)
}

// scale reads, scales and writes.
func (w *work) scale(ctx context.Context, fn Func) (r report, err error) {
	n := sigma.Self().Names()
	at := time.Now()
	lap := func(d *time.Duration) { *d, at = time.Since(at), time.Now() }
	o := forWorker(w.Options)
	data, err := read(ctx, n, w.In, min(maxInput, o.Memory/2))
	lap(&r.Read)
	if err != nil {
		r.Refused = permanent(err)
		return r, err
	}
	r.InBytes = int64(len(data))
	out, made, err := fn(data, o)
	lap(&r.Scale)
	r.Made = made
	if err != nil {
		r.Refused = permanent(err)
		return r, err
	}
	if r.Out, err = w.target(made.Format); err != nil {
		r.Refused = true
		return r, err
	}
	_, err = n.PutFile(ctx, r.Out, out)
	lap(&r.Write)
	r.OutBytes = int64(len(out))
	return r, err
}

// permanent tells an error that is about the image.
func permanent(err error) bool {
	switch api.KindOf(err) {
	case api.Invalid, api.TooLarge, api.Unsupported, api.NotFound, api.Denied, api.IsDir, api.NotDir, api.Loop:
		return true
	}
	return false
}

// read returns a file's content.
func read(ctx context.Context, n *sigma.Names, path string, most int64) ([]byte, error) {
	f, err := n.Open(ctx, path)
	if err != nil {
		return nil, job.Reachable(ctx, n, err, path)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if i.Size() > most {
		return nil, api.E(api.TooLarge, "read", path, "a file of %d MiB; a worker of this memory takes %d MiB", i.Size()>>20, most>>20)
	}
	data := make([]byte, i.Size())
	k, err := io.ReadFull(f, data)
	if err == io.EOF || err == io.ErrUnexpectedEOF { // it has become shorter
		err = nil
	}
	return data[:k], err
}

// endings are how the names of files of a format end; results get the first when
// they have none of them.
var endings = map[string][]string{"jpeg": {".jpg", ".jpeg"}, "png": {".png"}}

// target is the result's path: the image's own name, with the ending of its format
// behind it where it lacks one.
func (w *work) target(format string) (string, error) {
	if w.Exact {
		return w.Out, nil
	}
	for _, e := range endings[format] {
		if strings.HasSuffix(strings.ToLower(w.Out), e) {
			return w.Out, nil
		}
	}
	ending := endings[format][0]
	for _, t := range w.Taken {
		if t == ending {
			return "", api.E(api.Invalid, "img", w.In, "its result would be %s%s, which is another image's; rename one of them", w.Out, ending)
		}
	}
	return w.Out + ending, nil
}

// leave reports and ends the proc.
func (w *work) leave(r report, err error) {
	if err == nil {
		job.Leave(0, "", r)
	}
	r.Retry, r.Error = job.Transient(err), err.Error()
	r.Error = r.Error[:min(len(r.Error), maxError)]
	job.Leave(1, fmt.Sprintf("%s, attempt %d: %v", w.In, w.Attempt, err), r)
}
