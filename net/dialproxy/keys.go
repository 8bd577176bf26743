package dialproxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
)

// MethodKey is the call by which a node asks another for the key of the pair;
// the request is the asking node's number and boot, the answer the answering
// node's boot and the key.
const MethodKey = "dialproxy.key"

const keySize = 32

// window is how far a counter may lie behind the highest that was seen:
// connections overtake each other.
const window = 4096

// outgoing is a key that another node gave us. There is one for each key, ever:
// two would count the same numbers.
type outgoing struct {
	key     []byte
	boot    uint32 // theirs
	counter atomic.Uint64
	stale   atomic.Bool // ask whether it is still the one
}

// incoming is a key that we gave another node.
type incoming struct {
	key  []byte
	boot uint32 // theirs

	mu   sync.Mutex
	high uint64
	seen [window / 64]uint64
}

// fresh reports that counter was not seen before and notes it; what is older
// than the window counts as seen.
func (k *incoming) fresh(counter uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if counter == 0 || counter+window <= k.high {
		return false
	}
	for k.high < counter {
		if counter-k.high > window { // far ahead: nothing of the window is left
			k.seen = [window / 64]uint64{}
			k.high = counter
			break
		}
		k.high++
		k.seen[k.high%window/64] &^= 1 << (k.high % 64)
	}
	i, bit := counter%window/64, uint64(1)<<(counter%64)
	if k.seen[i]&bit != 0 {
		return false
	}
	k.seen[i] |= bit
	return true
}

type keys struct {
	mu  sync.Mutex
	out map[uint16]*outgoing
	in  map[uint16]*incoming
}

func newKeys() *keys {
	return &keys{out: make(map[uint16]*outgoing), in: make(map[uint16]*incoming)}
}

// outgoing returns the key for a node, asking for it when there is none for
// its boot.
func (p *Proxy) outgoing(ctx context.Context, node uint16, boot uint32) (*outgoing, error) {
	p.keys.mu.Lock()
	k := p.keys.out[node]
	p.keys.mu.Unlock()
	if k != nil && k.boot == boot && !k.stale.Load() {
		return k, nil
	}
	req := binary.BigEndian.AppendUint16(nil, p.cfg.Node)
	req = binary.BigEndian.AppendUint32(req, p.cfg.Boot)
	b, err := p.cfg.Nodes.Call(ctx, node, MethodKey, req)
	if err != nil {
		return nil, err
	}
	if len(b) != 4+keySize {
		return nil, errors.New("dialproxy: a key of the wrong size")
	}
	fresh := &outgoing{boot: binary.BigEndian.Uint32(b), key: b[4:]}
	p.keys.mu.Lock()
	defer p.keys.mu.Unlock()
	if k = p.keys.out[node]; k != nil && k.boot == fresh.boot && bytes.Equal(k.key, fresh.key) {
		k.stale.Store(false)
		return k, nil
	}
	p.keys.out[node] = fresh
	return fresh, nil
}

// GiveKey answers MethodKey. peer is the number of the node that asks, as the
// link knows it.
func (p *Proxy) GiveKey(peer uint16, req []byte) ([]byte, error) {
	if len(req) != 6 || binary.BigEndian.Uint16(req) != peer {
		return nil, errors.New("dialproxy: a node asked for the key of another")
	}
	k := &incoming{boot: binary.BigEndian.Uint32(req[2:]), key: make([]byte, keySize)}
	rand.Read(k.key)
	p.keys.mu.Lock()
	defer p.keys.mu.Unlock()
	if old := p.keys.in[peer]; old != nil && old.boot == k.boot {
		k = old // several dials at once asked; all have the same key
	} else {
		p.keys.in[peer] = k
	}
	return append(binary.BigEndian.AppendUint32(nil, p.cfg.Boot), k.key...), nil
}

func (p *Proxy) incoming(node uint16, boot uint32) *incoming {
	p.keys.mu.Lock()
	defer p.keys.mu.Unlock()
	if k := p.keys.in[node]; k != nil && k.boot == boot {
		return k
	}
	return nil
}
