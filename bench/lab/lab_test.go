package lab

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func pair(t *testing.T) *Pair {
	t.Helper()
	needRoot(t)
	p, err := NewPair()
	if err != nil {
		t.Fatalf("NewPair() = %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// exchange sends a byte from side 0 to addr on side 1 and back, and returns how
// long the byte took.
func exchange(t *testing.T, p *Pair, addr string) time.Duration {
	t.Helper()
	var lis net.Listener
	err := p.Side[1].Do(func() (err error) {
		lis, err = net.Listen("tcp", addr+":0")
		return err
	})
	if err != nil {
		t.Fatalf("Listen(%s) = %v", addr, err)
	}
	defer lis.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		if c, err := lis.Accept(); err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	var c net.Conn
	err = p.Side[0].Do(func() (err error) {
		c, err = net.DialTimeout("tcp", lis.Addr().String(), 5*time.Second)
		return err
	})
	if err != nil {
		t.Fatalf("Dial(%s) = %v", lis.Addr(), err)
	}
	c.SetDeadline(time.Now().Add(5 * time.Second))
	begin := time.Now()
	if _, err := c.Write([]byte{7}); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != 7 {
		t.Fatalf("read %v, %v; want the byte back", b, err)
	}
	took := time.Since(begin)
	c.Close()
	<-served
	return took
}

func TestPairCarriesConnections(t *testing.T) {
	p := pair(t)
	exchange(t, p, p.Addr(1))
}

func TestOverlayCarriesConnections(t *testing.T) {
	p := pair(t)
	addr, err := p.Overlay()
	if err != nil {
		t.Skipf("this kernel has no VXLAN: %v", err)
	}
	exchange(t, p, addr[1])
}

func TestDelayIsAddedAndTakenAway(t *testing.T) {
	p := pair(t)
	const d = 30 * time.Millisecond
	for range 2 { // the second time shows that the first was undone
		undo, err := p.Delay(d)
		if err != nil {
			t.Skipf("this kernel has no TUN: %v", err)
		}
		if took := exchange(t, p, p.Addr(1)); took < 2*d {
			t.Errorf("a round trip over twice %v took %v", d, took)
		}
		if err := undo(); err != nil {
			t.Errorf("undo() = %v", err)
		}
	}
	exchange(t, p, p.Addr(1))
}

func TestNothingOfASpaceIsSeenOutside(t *testing.T) {
	p := pair(t)
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range before {
		if i.Name == "cable" {
			t.Error("the cable is in this process's own network")
		}
	}
	err = p.Side[0].Do(func() error {
		in, err := os.ReadFile("/proc/thread-self/net/dev")
		if err == nil && !bytes.Contains(in, []byte("cable:")) {
			t.Errorf("the space has no cable:\n%s", in)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProcessesAreInTheSpaceAndEndWithIt(t *testing.T) {
	needRoot(t)
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command("cat", "/proc/self/net/dev")
	cmd.Stdout = &out
	if err := s.Start(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || strings.Count(out.String(), ":") != 1 {
		t.Errorf("a process sees %q, %v; want loopback alone", out.String(), err)
	}
	long := exec.Command("sleep", "60")
	if err := s.Start(long, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.Close()
	done := make(chan error, 1)
	go func() { done <- long.Wait() }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("sleep 60 ended by itself")
		}
	case <-time.After(10 * time.Second):
		long.Process.Kill()
		t.Error("a process outlived its space")
	}
}

func TestDiskIsSeenInItsSpaceAlone(t *testing.T) {
	needRoot(t)
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := s.Disk(dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dd", "if=/dev/zero", "of="+dir+"/f", "bs=64k", "count=64")
	if err := s.Start(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("4 MiB fit on a disk of one")
	}
	err = s.Do(func() error {
		_, err := os.Stat(dir + "/f")
		return err
	})
	if err != nil {
		t.Errorf("in the space: %v", err)
	}
	if _, err := os.Stat(dir + "/f"); !os.IsNotExist(err) {
		t.Errorf("outside the file is seen: %v", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(dir)) {
		t.Errorf("outside the mount is seen, %v", err)
	}
	s.Close()
}

// A disk that may write 20 times a second takes a second for 20 writes that must
// be there, and none of that when it may write as it likes again.
func TestBlockIsSlowWhileItShallBe(t *testing.T) {
	needRoot(t)
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	b, err := s.Block(dir, 64<<20)
	if errors.Is(err, ErrNoLimits) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer b.Slow(0)
	write := func(count int) (d time.Duration) {
		t.Helper()
		err := s.Do(func() error {
			f, err := os.Create(dir + "/f")
			if err != nil {
				return err
			}
			defer f.Close()
			begin := time.Now()
			for range count {
				f.Write(make([]byte, 4096))
				if err := f.Sync(); err != nil {
					return err
				}
			}
			d = time.Since(begin)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	fast := write(20)
	if err := b.Slow(20); err != nil {
		t.Fatal(err)
	}
	slow := write(20)
	if err := b.Slow(0); err != nil {
		t.Fatal(err)
	}
	again := write(20)
	t.Logf("20 writes and syncs: %v, slow %v, then %v", fast, slow, again)
	if slow < 800*time.Millisecond {
		t.Errorf("20 syncs at 20 writes a second took %v", slow)
	}
	if again > slow/2 {
		t.Errorf("unbounded again, 20 syncs took %v, and %v while slow", again, slow)
	}
}
