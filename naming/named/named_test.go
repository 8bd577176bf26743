package named

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"sigmaos/api"
)

func startPeer(t *testing.T, dir, run string) *Peer {
	t.Helper()
	p, err := StartPeer(context.Background(), PeerConfig{Name: "n1", DataDir: filepath.Join(dir, "etcd"), RunDir: run, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRealmsAndBootsSurviveRestart(t *testing.T) {
	ctx := context.Background()
	dir, run := t.TempDir(), t.TempDir()
	p := startPeer(t, dir, run)
	a, err := OpenRealms(ctx, p.Client(), slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenRealms(ctx, p.Client(), slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	made, err := a.Create(ctx, api.Realm{Name: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Create(ctx, api.Realm{Name: "shop"}); api.KindOf(err) != api.Exists {
		t.Errorf("a second realm of the name: %v, want kind %q", err, api.Exists)
	}
	for _, name := range []string{"", "-x", "UPPER", "a/b", "x\x00", string(make([]byte, 41))} {
		if _, err := a.Create(ctx, api.Realm{Name: name}); api.KindOf(err) != api.Invalid {
			t.Errorf("realm %q: %v, want kind %q", name, err, api.Invalid)
		}
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if got, err := b.Get("shop"); err == nil && got.ID == made.ID {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the other table does not see it: %v", err)
		}
	}
	n1, b1, err := Boot(ctx, p.Client(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	n2, _, err := Boot(ctx, p.Client(), "n2")
	if err != nil || n2 == n1 {
		t.Fatalf("node 2 has number %d, node 1 %d: %v", n2, n1, err)
	}
	a.Close()
	b.Close()
	p.Close()

	p = startPeer(t, dir, run)
	defer p.Close()
	a, err = OpenRealms(ctx, p.Client(), slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got, err := a.Get("shop"); err != nil || got.ID != made.ID {
		t.Errorf("after a restart: %v %v, want %v", got, err, made)
	}
	again, b2, err := Boot(ctx, p.Client(), "n1")
	if err != nil || again != n1 || b2 <= b1 {
		t.Errorf("boot %d of node %d after boot %d of node %d: %v", b2, again, b1, n1, err)
	}
	if err := a.Remove(ctx, "shop"); err != nil {
		t.Error(err)
	}
	if _, err := a.Get("shop"); api.KindOf(err) != api.NotFound {
		t.Errorf("removed realm: %v", err)
	}
}
