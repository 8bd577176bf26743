package gossip

// Resolve gives name and address (HOST:PORT) of the living node of that number.
func (g *Gossip) Resolve(number uint16) (name, addr string, ok bool) {
	m, ok := g.Lookup(number)
	if !ok {
		return "", "", false
	}
	return m.Name, m.Addr.String(), true
}

// OnLeft calls fn for every node that has said goodbye and gone, until stop is
// called; under the rules of Subscribe.
func (g *Gossip) OnLeft(fn func(number uint16)) (stop func()) {
	return g.Subscribe(func(e Event) {
		if e.Type == Left {
			fn(e.Member.Number)
		}
	})
}
