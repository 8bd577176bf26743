package job

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

const (
	overLook = 2 * time.Second
	overCode = 3 // of a proc that has found its job over
)

// Watch ends the proc when the job in dir is over or gone: nobody wants its work
// then, and what it writes would be left over. It does not return.
func Watch(ctx context.Context, dir string) {
	for range time.Tick(overLook) {
		b, _, err := sigma.GetFile(ctx, dir+"/state")
		var st State
		if api.KindOf(err) == api.NotFound || err == nil && json.Unmarshal(b, &st) == nil && st.Phase.Final() {
			os.Exit(overCode)
		}
	}
}

// Leave ends the proc: it says what went wrong, if anything, and leaves data for who
// waits for it.
func Leave(code int, message string, data any) {
	message = message[:min(len(message), api.MaxMessage)]
	if message != "" {
		fmt.Fprintln(os.Stderr, message)
	}
	st := sigma.Status{Code: code, Message: message}
	if data != nil {
		st.Data, _ = json.Marshal(data)
	}
	sigma.Exited(st)
	os.Exit(code)
}

// Usage is this process's CPU time and its largest resident size.
func Usage() (cpu time.Duration, rss int64) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), u.Maxrss << 10
}
