package roles

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"sigmaos/runtime/binfs"
	"sigmaos/runtime/slot"
)

// A binfs that has not answered for so long hangs. It is ended, so that starts
// which wait in the kernel for it fail.
const (
	askEvery   = 3 * time.Second
	answerTime = 8 * time.Second
	// backTime bounds what a start waits for one that is being restarted.
	backTime = 5 * time.Second
)

// mount keeps a binfs running: its process holds the FUSE mount that slots
// are built on. One that ends is replaced within a second, and idle slots with it.
type mount struct {
	s     *System
	chain *binfs.Chain
	stop  context.CancelFunc
	done  chan struct{}

	mu     sync.Mutex
	holder *binfs.Holder // nil while there is none …
	back   chan struct{} // … and this is closed when there is again
	onLost func(slot.Binfs)
}

func startMount(ctx context.Context, s *System, chain *binfs.Chain) (*mount, error) {
	h, err := startBinfs(ctx, s, chain)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &mount{s: s, chain: chain, stop: stop, done: make(chan struct{}), holder: h}
	go m.watch(ctx)
	return m, nil
}

func startBinfs(ctx context.Context, s *System, chain *binfs.Chain) (*binfs.Holder, error) {
	return binfs.Start(ctx, binfs.Config{
		StoreDir: filepath.Join(s.Config.DataDir, "bin"), RunDir: s.Config.RunDir, Exe: "/proc/self/exe", Logger: s.Log.With("role", "binfs"),
		Chain: chain, Quota: programCache,
	})
}

// current is the mount to build a slot on. While binfs is being restarted it
// waits: starts are then late, not refused.
func (m *mount) current() (slot.Binfs, error) {
	limit := time.After(backTime)
	for {
		m.mu.Lock()
		h, back := m.holder, m.back
		m.mu.Unlock()
		if h != nil {
			return h, nil
		}
		select {
		case <-back:
		case <-limit:
			return nil, fmt.Errorf("binfs is down and does not come back within %v; sigmad's log says why", backTime)
		}
	}
}

// cold tells how a program came to this node, for why; nil where that is not
// known.
func (m *mount) cold(realm, digest string) *binfs.Cold {
	m.mu.Lock()
	h := m.holder
	m.mu.Unlock()
	if h == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := h.Cold(ctx, realm, digest)
	if err != nil {
		return nil
	}
	return c
}

// allCold is cold for all programs of a realm.
func (m *mount) allCold(realm string) map[string]binfs.Cold {
	m.mu.Lock()
	h := m.holder
	m.mu.Unlock()
	if h == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	list, err := h.AllCold(ctx, realm)
	if err != nil {
		return nil
	}
	return list
}

func (m *mount) lost(fn func(slot.Binfs)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onLost = fn
}

func (m *mount) watch(ctx context.Context) {
	defer close(m.done)
	for {
		m.mu.Lock()
		h := m.holder
		m.mu.Unlock()
		if !m.alive(ctx, h) {
			h.Close()
			return
		}
		m.s.Log.Error("binfs ended; restarting it", "err", h.Err())
		m.mu.Lock()
		m.holder, m.back = nil, make(chan struct{})
		onLost := m.onLost
		m.mu.Unlock()
		if onLost != nil {
			onLost(h)
		}
		h.Close()
		for {
			n, err := startBinfs(ctx, m.s, m.chain)
			if err == nil {
				m.mu.Lock()
				m.holder = n
				close(m.back)
				m.mu.Unlock()
				break
			}
			m.s.Log.Error("binfs does not start", "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	}
}

// alive returns when h has ended, having ended it where it hangs; false when
// ctx has.
func (m *mount) alive(ctx context.Context, h *binfs.Holder) bool {
	t := time.NewTicker(askEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-h.Done():
			return true
		case <-t.C:
		}
		ask, cancel := context.WithTimeout(ctx, answerTime)
		_, err := h.Stats(ask)
		cancel()
		if err != nil && ctx.Err() == nil {
			m.s.Log.Error("binfs does not answer; ending it", "err", err)
			h.Abort()
			<-h.Done()
		}
	}
}

func (m *mount) close() error {
	m.stop()
	select {
	case <-m.done:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("binfs does not end")
	}
}
