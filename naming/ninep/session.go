package ninep

import (
	"strings"

	"sigmaos/api"
)

// version begins a session: what was under way or open before is dropped.
func (s *server) version(b *buffer) error {
	tag := frameTag(b.b)
	var m version
	err := decode(b.b[headerSize:], &m)
	s.pool.put(b)
	if err == nil && m.Msize < minMsize {
		err = bad("version", "messages of %d bytes; at least %d are needed", m.Msize, minMsize)
	}
	if err != nil {
		return s.tell(tag, err)
	}
	s.reset()
	s.msize, s.sigma = 0, false
	most := s.opts.Msize
	switch base, rest, _ := strings.Cut(m.Version, versionPlain); {
	case base != "" || rest != "" && rest[0] != '.' || !strings.HasPrefix(m.Version, versionPlain):
		return s.send(tag, tVersion+1, &version{Msize: m.Msize, Version: unknown}, nil)
	case strings.HasPrefix(rest, ".sigma"):
		s.sigma, m.Version = true, versionSigma
		if most == maxMsize {
			most = maxSigma
		}
	default: // a dialect of somebody else's; ours is a part of it
		m.Version = versionPlain
	}
	s.msize = int(min(m.Msize, uint32(most)))
	s.in.limit = uint32(s.msize)
	m.Msize = uint32(s.msize)
	return s.send(tag, tVersion+1, &m, nil)
}

// reset ends all requests and forgets all fids.
func (s *server) reset() {
	s.mu.Lock()
	for _, r := range s.reqs {
		r.cancel()
	}
	for len(s.reqs) > 0 {
		s.changed.Wait()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.dropFids()
}

// maxFlushes bounds those that wait for one answer.
const maxFlushes = 1024

// flush cancels a request and is answered behind it; what is not under way was
// answered already.
func (s *server) flush(b *buffer) error {
	tag := frameTag(b.b)
	var m flush
	err := decode(b.b[headerSize:], &m)
	s.pool.put(b)
	if err != nil {
		return s.tell(tag, err)
	}
	s.mu.Lock()
	r := s.reqs[m.Old]
	if r != nil && len(r.flushes) >= maxFlushes {
		s.mu.Unlock()
		return s.tell(tag, api.E(api.Busy, "flush", "", "%d flushes wait for this request already", maxFlushes))
	}
	if r != nil {
		r.flushes = append(r.flushes, tag)
		r.cancel()
	}
	s.mu.Unlock()
	if r != nil {
		return nil
	}
	return s.send(tag, tFlush+1, &empty{}, nil)
}
