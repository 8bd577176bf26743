package img

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// report is what a worker says at its end, as the data of Exited.
type report struct {
	Result
	Refused bool `json:"refused,omitempty"` // the image cannot be scaled, whoever tries
	Retry   bool `json:"retry,omitempty"`   // failed, but not by the image's fault
}

const (
	maxInput = 1 << 30 // of an image's file; less in a worker of less memory
	overLook = 2 * time.Second
	exitOver = 3
	maxError = 600 // bytes of one that goes into a report
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
		go w.watchJob(ctx)
	}
	r, err := w.scale(ctx, fn)
	r.Start = time.Duration(began.UnixNano() - w.Spawned)
	r.Wall = time.Since(began)
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		r.CPU, r.RSS = time.Duration(u.Utime.Nano()+u.Stime.Nano()), u.Maxrss<<10
	}
	w.leave(r, err)
}

// watchJob ends the proc when its job is over or gone: nobody wants its work then.
func (w *work) watchJob(ctx context.Context) {
	for range time.Tick(overLook) {
		b, _, err := sigma.GetFile(ctx, w.Job+"/state")
		var st State
		if api.KindOf(err) == api.NotFound || err == nil && json.Unmarshal(b, &st) == nil && st.Phase.Final() {
			os.Exit(exitOver)
		}
	}
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
		return nil, nodeGone(ctx, n, path, err)
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

// nodeGone makes "not found" on a node that is not there a thing that may pass.
func nodeGone(ctx context.Context, n *sigma.Names, path string, err error) error {
	rest, ok := strings.CutPrefix(path, "/ux/")
	if !ok || api.KindOf(err) != api.NotFound {
		return err
	}
	node, _, _ := strings.Cut(rest, "/")
	if _, serr := n.Stat(ctx, "/ux/"+node+"/"); serr != nil {
		return api.E(api.Unavailable, "img", path, "node %s does not answer (%v)", node, err)
	}
	return err
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
	st := sigma.Status{}
	if err != nil {
		st.Code = 1
		r.Retry = transient(err)
		r.Error = err.Error()
		r.Error = r.Error[:min(len(r.Error), maxError)]
		st.Message = fmt.Sprintf("%s, attempt %d: %v", w.In, w.Attempt, err)
		st.Message = st.Message[:min(len(st.Message), api.MaxMessage)]
		fmt.Fprintln(os.Stderr, st.Message)
	}
	st.Data, _ = json.Marshal(r)
	sigma.Exited(st)
	os.Exit(st.Code)
}

// transient says that an error is the system's state of this moment.
func transient(err error) bool {
	switch api.KindOf(err) {
	case api.Unavailable, api.Deadline, api.Canceled:
		return true
	}
	return false
}
