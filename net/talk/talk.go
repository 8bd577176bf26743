package talk

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
)

// Peer is one life of a node.
type Peer struct {
	Number uint16
	Boot   uint32 // 0: it was never heard of
}

// Config of a node's conversations.
type Config struct {
	Self Peer
	// Call makes one call to another node, whose Serve answers it. It keeps nothing of
	// req.
	Call func(ctx context.Context, node uint16, req []byte) ([]byte, error)
	// Encode appends a message to b; it runs in a goroutine of the Talk, so a
	// message must not change once it was sent. Decode reads it back.
	Encode func(b []byte, m any) []byte
	Decode func(b []byte) (any, error)
	// Receive takes messages, in order. It must not wait for long, and may Send.
	Receive func(from Peer, messages []any)
	// Over is told that a session has ended, by us or by the other side, and what
	// was not acknowledged. The same holds for it.
	Over   func(peer Peer, byUs bool, undelivered []any)
	Logger *slog.Logger
	Clock  clock.Clock // default: the machine's

	Tick   time.Duration // default 500 ms
	Missed int           // ticks without an answer that end a session; default 6
}

const (
	maxBatch  = 256 << 10             // bytes of messages in one call, but for a single one
	callAgain = 50 * time.Millisecond // after a call that failed
	mostKept  = 8 << 10               // messages for which a queue that is empty keeps room
)

// Talk is this node's conversations. Close it.
type Talk struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the ticker and a goroutine for each active peer

	mu     sync.Mutex
	closed bool
	last   uint32 // number of the newest session
	peers  map[uint16]*peer
}

// New is ready to talk.
func New(cfg Config) *Talk {
	cfg.Tick = cmp.Or(cfg.Tick, 500*time.Millisecond)
	cfg.Missed = cmp.Or(cfg.Missed, 6)
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	t := &Talk{cfg: cfg, peers: make(map[uint16]*peer)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.wg.Add(1)
	go t.ticks()
	return t
}

// Flush waits until all messages are acknowledged, at most for so long.
func (t *Talk) Flush(most time.Duration) {
	for end := time.Now().Add(most); !t.idle() && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
}

func (t *Talk) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.peers {
		p.mu.Lock()
		waits := len(p.queue)
		p.mu.Unlock()
		if waits > 0 {
			return false
		}
	}
	return true
}

// Close ends all conversations without a word, and waits for what is under way.
func (t *Talk) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
	return nil
}

// Send appends a message to the conversation with a node. It never waits.
func (t *Talk) Send(node uint16, m any) {
	if p := t.peer(node); p != nil {
		p.send(m)
	}
}

// Watch begins a conversation without a message: its end will be told.
func (t *Talk) Watch(node uint16) {
	if p := t.peer(node); p != nil {
		p.send(nil)
	}
}

// Left tells that a node has said goodbye, or that no sigmad is there: its session
// ends at once.
func (t *Talk) Left(node uint16) {
	if p := t.peer(node); p != nil {
		p.mu.Lock()
		mine := p.mine
		p.mu.Unlock()
		p.end(mine, false)
	}
}

// Serve answers the call of another node, which the transport knows.
func (t *Talk) Serve(from uint16, req []byte) ([]byte, error) {
	h, rest, err := parseHead(req)
	if err != nil {
		return nil, err
	}
	p := t.peer(from)
	if p == nil {
		return nil, api.E(api.Unavailable, "talk", "", "this node is stopping")
	}
	return p.serve(h, rest)
}

func (t *Talk) peer(node uint16) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	p := t.peers[node]
	if p == nil {
		p = &peer{t: t, number: node, kick: make(chan struct{}, 1), mine: t.sessionLocked()}
		t.peers[node] = p
	}
	return p
}

// session numbers a new one. The numbers of a node grow, over its boots too.
func (t *Talk) session() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sessionLocked()
}

func (t *Talk) sessionLocked() uint64 {
	t.last++
	return uint64(t.cfg.Self.Boot)<<32 | uint64(t.last)
}

// begin starts the goroutine of a peer; false when the Talk is closed.
func (t *Talk) begin(run func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		run()
	}()
	return true
}

// ticks counts for every session. A timer that is late, because the process was
// stopped, is one tick.
func (t *Talk) ticks() {
	defer t.wg.Done()
	for {
		rang := make(chan struct{})
		timer := t.cfg.Clock.AfterFunc(t.cfg.Tick, func() { close(rang) })
		select {
		case <-t.ctx.Done():
			timer.Stop()
			return
		case <-rang:
			t.tick()
		}
	}
}

func (t *Talk) tick() {
	t.mu.Lock()
	all := make([]*peer, 0, len(t.peers))
	for _, p := range t.peers {
		all = append(all, p)
	}
	t.mu.Unlock()
	for _, p := range all {
		p.tick()
	}
}
