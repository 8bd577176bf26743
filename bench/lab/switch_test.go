package lab

import (
	"net"
	"testing"
	"time"
)

// echoes counts how many of n datagrams from member a come back from b: at least
// `least`, however long a busy machine takes for them, and what comes within a moment
// after those.
func echoes(t *testing.T, spaces []*Space, a, b, n, least int) (back int) {
	t.Helper()
	var conns [2]*net.UDPConn
	for i, m := range []int{a, b} {
		err := spaces[m].Do(func() (err error) {
			conns[i], err = net.ListenUDP("udp4", &net.UDPAddr{IP: Member(m).AsSlice()})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
	}
	go func() {
		buf := make([]byte, 100)
		for {
			k, from, err := conns[1].ReadFromUDP(buf)
			if err != nil {
				return
			}
			conns[1].WriteToUDP(buf[:k], from)
		}
	}()
	for range n {
		if _, err := conns[0].WriteToUDP([]byte("x"), conns[1].LocalAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 100)
	for {
		wait := 300 * time.Millisecond
		if back < least {
			wait = 20 * time.Second
		}
		conns[0].SetReadDeadline(time.Now().Add(wait))
		if _, err := conns[0].Read(buf); err != nil {
			return back
		}
		back++
	}
}

func TestSwitchCarriesAndFails(t *testing.T) {
	needRoot(t)
	w := NewSwitch(1)
	var spaces []*Space
	t.Cleanup(func() {
		for _, s := range spaces {
			s.Close()
		}
		w.Close()
	})
	for i := range 3 {
		s, err := New()
		if err != nil {
			t.Fatal(err)
		}
		spaces = append(spaces, s)
		if err := w.Join(s, Member(i)); err != nil {
			t.Skipf("this kernel has no TUN: %v", err)
		}
	}
	const n = 80 // fits into a socket, doubled
	if got := echoes(t, spaces, 0, 1, n, n); got != n {
		t.Errorf("a plain way brings %d of %d back", got, n)
	}
	w.Set(Member(0), Member(1), Way{Cut: true})
	if got := echoes(t, spaces, 0, 1, n, 0); got != 0 {
		t.Errorf("a cut way brings %d back", got)
	}
	if got := echoes(t, spaces, 0, 2, n, n); got != n {
		t.Errorf("beside a cut way %d of %d come back", got, n)
	}
	w.Set(Member(0), Member(1), Way{Loss: 0.5})
	if got := echoes(t, spaces, 0, 1, n, n/4); got < n/4 || got > n*3/4 {
		t.Errorf("half are lost and %d of %d come back", got, n)
	}
	w.Set(Member(0), Member(1), Way{Double: 1})
	if got := echoes(t, spaces, 0, 1, n, 2*n); got != 2*n {
		t.Errorf("all are doubled and %d come back for %d", got, n)
	}
	w.Set(Member(0), Member(1), Way{Delay: 50 * time.Millisecond})
	begin := time.Now()
	if got := echoes(t, spaces, 0, 1, 10, 10); got != 10 || time.Since(begin) < 50*time.Millisecond {
		t.Errorf("delayed: %d of 10 after %v", got, time.Since(begin))
	}
	w.Heal()
	if got := echoes(t, spaces, 0, 1, n, n); got != n {
		t.Errorf("healed, it brings %d of %d back", got, n)
	}
}
