package schedd

// moment is something that happens once in a proc's life. Most have nobody who waits
// for it, and a home keeps the records of many that have ended: so its channel is made
// by who waits first, and gone when it has come. Schedd.mu guards it.
type moment struct {
	come bool
	ch   chan struct{}
}

// past is the channel of every moment that has come.
var past = func() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

// nowLocked has it come, and wakes who waits.
func (m *moment) nowLocked() {
	if m.ch != nil {
		close(m.ch)
	}
	m.come, m.ch = true, nil
}

// waitLocked is closed when it has come.
func (m *moment) waitLocked() <-chan struct{} {
	if m.come {
		return past
	}
	if m.ch == nil {
		m.ch = make(chan struct{})
	}
	return m.ch
}

// finality is closed when p is final.
func (s *Schedd) finality(p *proc) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.done.waitLocked()
}
