package gossip

import (
	"context"
	"time"

	"github.com/hashicorp/memberlist"

	"sigmaos/api/wire"
)

// message is what nodes say to each other beside memberlist's own: a byte of
// version, one of kind, and fields.
type message struct {
	kind byte
	name string // of who says it
	boot uint32 // of who leaves
}

const (
	messageVersion = 1
	sayGoodbye     = 1 // the sender leaves; it is not to be taken for one that failed
	sayHeard       = 2 // the answer
)

func (m message) encode() []byte {
	f := wire.Fields{messageVersion, m.kind}
	f.String(1, m.name)
	f.Int(2, int64(m.boot))
	return f
}

func decodeMessage(b []byte) (m message, ok bool) {
	if len(b) < 2 || len(b) > maxInfo || b[0] != messageVersion {
		return m, false
	}
	m.kind = b[1]
	err := wire.Each(b[2:], func(tag uint8, v []byte) error {
		switch tag {
		case 1:
			m.name = string(v)
		case 2:
			n, err := wire.Int(v)
			m.boot = uint32(n)
			return err
		}
		return nil
	})
	return m, err == nil && m.name != "" && (m.kind == sayGoodbye || m.kind == sayHeard)
}

// send is best effort, as packets are.
func (g *Gossip) send(to Member, m message) {
	g.list.SendToAddress(memberlist.Address{Addr: to.Addr.String(), Name: to.Name}, m.encode())
}

// part says goodbye to each of the others until it has heard it. Word of this
// node's end goes out after that, from member to member and again and again; who
// got that first would take this node for one that failed.
func (g *Gossip) part(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	again := time.NewTicker(max(time.Millisecond, min(g.cfg.Notice/40, limit/8)))
	defer again.Stop()
	deaf := make(map[string]Member)
	for _, m := range g.Members() {
		if m.Name != g.me.Name {
			deaf[m.Name] = m
		}
	}
	for say := true; ; {
		for name, m := range deaf {
			if now, here := g.Named(name); !here || now.Leaving { // it may not be there to answer
				delete(deaf, name)
			}
			if say {
				g.send(m, message{sayGoodbye, g.me.Name, g.cfg.Boot})
			}
		}
		if len(deaf) == 0 {
			return
		}
		select {
		case name := <-g.heard:
			delete(deaf, name)
			say = false
		case <-again.C:
			say = true
		case <-ctx.Done():
			return
		}
	}
}

// answerGoodbyes lets those who leave know that this node has heard it.
func (g *Gossip) answerGoodbyes() {
	defer g.wg.Done()
	for {
		select {
		case m := <-g.goodbyes:
			if who, here := g.Named(m.name); here && who.Boot == m.boot {
				g.send(who, message{sayHeard, g.me.Name, m.boot})
			}
		case <-g.ctx.Done():
			return
		}
	}
}
