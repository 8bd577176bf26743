package slot

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"sigmaos/runtime/binfs"
)

func (e *env) asked() binfs.Stats {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := e.holder.Stats(ctx)
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

// remount replaces binfs: a page cache that has nothing.
func (e *env) remount() {
	e.t.Helper()
	e.holder.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	h, err := binfs.Start(ctx, binfs.Config{StoreDir: e.store.Dir(), RunDir: filepath.Join(e.t.TempDir(), "run"), Exe: "/proc/self/exe", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { h.Close() })
	e.holder = h
}

// A first start reads page by page, and leaves its profile; with that, all that a
// start touches is in the page cache before exec; and a warm start asks nothing.
func TestPaper33_StartWithItsProfileReadsNothing(t *testing.T) {
	e := newEnv(t, landlock())
	start := func(s *Slot) (asked binfs.Stats) {
		before := e.asked()
		if _, end := e.output(s, "exit", "0"); end.Stage != 0 {
			t.Fatalf("the proc was not started: %v", end.Err())
		}
		after := e.asked()
		return binfs.Stats{Lookups: after.Lookups - before.Lookups, Attrs: after.Attrs - before.Attrs, Opens: after.Opens - before.Opens,
			Reads: after.Reads - before.Reads, Stored: after.Stored - before.Stored}
	}
	first := start(e.make(testRealm))
	profile := filepath.Join(e.store.Dir(), testRealm, e.digest+".profile")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if list, _ := filepath.Glob(profile); len(list) == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the first start leaves no profile")
		}
	}
	e.remount()
	s := e.make(testRealm)
	cold, warm := start(s), start(s)
	t.Logf("without a profile %+v, with it %+v, warm %+v", first, cold, warm)
	if first.Reads == 0 || first.Stored != 1 {
		t.Errorf("a start without a profile asked %+v, want some READs behind the chunk that exec begins with", first)
	}
	if cold.Reads != 0 || cold.Stored <= 1 {
		t.Errorf("a start with its profile asked %+v, want no READ", cold)
	}
	if warm != (binfs.Stats{}) {
		t.Errorf("a warm start asked %+v, want nothing", warm)
	}
}
