package fdpass

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/internal/leaktest"
)

// conns makes both ends of a pair Conns; opts are those of the second.
func conns(t *testing.T, kind int, opts ...Option) (*Conn, *Conn) {
	t.Helper()
	a, fd, err := Pair(kind)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(fd, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	limit := time.Now().Add(10 * time.Second)
	a.SetDeadline(limit)
	b.SetDeadline(limit)
	return a, b
}

// file makes a descriptor that can be told from others by its content.
func file(t *testing.T, content string) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.Write(fd, []byte(content)); err != nil {
		t.Fatal(err)
	}
	return fd
}

// content reads a descriptor and closes it.
func content(t *testing.T, fd int) string {
	t.Helper()
	defer unix.Close(fd)
	b := make([]byte, 100)
	n, err := unix.Pread(fd, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// open counts the descriptors of this process.
func open(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// read reads exactly n bytes.
func read(t *testing.T, c *Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDescriptorsComeInTheOrderOfTheirMessages(t *testing.T) {
	a, b := conns(t, unix.SOCK_STREAM, Take)
	var sent strings.Builder
	for i := range 20 {
		msg := fmt.Sprintf("message %d.", i)
		fd := -1
		if i%3 != 0 { // some have none
			fd = file(t, msg)
		}
		if _, err := a.WriteFD([]byte(msg), fd); err != nil {
			t.Fatal(err)
		}
		sent.WriteString(msg)
	}
	// Two messages can come with one read, and one in pieces: the order holds.
	if got := read(t, b, sent.Len()); got != sent.String() {
		t.Errorf("bytes %q", got)
	}
	for i := range 20 {
		if i%3 == 0 {
			continue
		}
		fd, ok := b.Taken()
		if !ok || fd < 0 {
			t.Fatalf("descriptor of message %d: %d, %v", i, fd, ok)
		}
		if got, want := content(t, fd), fmt.Sprintf("message %d.", i); got != want {
			t.Errorf("descriptor of message %d is that of %q", i, got)
		}
	}
	if fd, ok := b.Taken(); ok {
		t.Errorf("one more: %d", fd)
	}
}

func TestADescriptorIsThereWithTheFirstByteOfItsMessage(t *testing.T) {
	a, b := conns(t, unix.SOCK_STREAM, Take)
	a.WriteFD([]byte("none"), -1)
	a.WriteFD([]byte("has one"), file(t, "x"))
	if read(t, b, 4); len(b.taken) != 0 {
		t.Error("the descriptor came before its message")
	}
	read(t, b, 1)
	if fd, ok := b.Taken(); !ok {
		t.Error("the first byte of the message came without its descriptor")
	} else {
		unix.Close(fd)
	}
}

func TestWhatNobodyTookIsClosed(t *testing.T) {
	leaktest.Settle()
	before := open(t)
	a, b := conns(t, unix.SOCK_STREAM, Take)
	fd := file(t, "x")
	for range maxTaken + 10 { // over the bound they are closed at once
		if _, err := a.WriteFD([]byte("m"), fd); err != nil {
			t.Fatal(err)
		}
		read(t, b, 1)
	}
	if n := open(t); n != before+3+maxTaken {
		t.Errorf("%d descriptors are open, want %d: the pair, a file and %d that wait", n, before+3+maxTaken, maxTaken)
	}
	a.Close()
	b.Close()
	if n := open(t); n != before+1 {
		t.Errorf("after Close %d are open, want %d", n, before+1)
	}
	// A read that is under way while Close runs keeps nothing either.
	b.keep([]int{dup(t, fd)})
	if n := open(t); n != before+1 {
		t.Errorf("a late one stays: %d are open, want %d", n, before+1)
	}
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// PROBES N14: what a peer sends to who takes nothing goes nowhere.
func TestPROBES_N14_WithoutTakeNothingComes(t *testing.T) {
	leaktest.Settle()
	before := open(t)
	a, b := conns(t, unix.SOCK_STREAM)
	fd := file(t, "x")
	_, err := a.WriteFD([]byte("message"), fd)
	if _, old := unix.GetsockoptInt(number(b), unix.SOL_SOCKET, unix.SO_PASSRIGHTS); old == nil && !errors.Is(err, unix.EPERM) {
		t.Errorf("this kernel can refuse them, and the sender is told %v", err)
	} else if old != nil && err != nil {
		t.Fatal(err)
	}
	if err == nil && read(t, b, 7) != "message" {
		t.Error("the bytes are lost too")
	}
	// As many as fit, the socket itself among them: a cycle that would keep itself alive.
	var rights []int
	for len(rights) < 253 {
		rights = append(rights, number(b))
	}
	raw(t, a, "x", rights)
	a.Write([]byte("y"))
	b.Read(make([]byte, 10))
	if n := open(t); n != before+3 {
		t.Errorf("%d descriptors are open, want %d: the pair and a file", n, before+3)
	}
	if _, ok := b.Taken(); ok {
		t.Error("Taken gives one")
	}
}

// number is that of a Conn's own descriptor.
func number(c *Conn) (fd int) {
	c.rc.Control(func(s uintptr) { fd = int(s) })
	return fd
}

// raw sends bytes with any number of descriptors.
func raw(t *testing.T, c *Conn, p string, fds []int) {
	t.Helper()
	c.rc.Control(func(s uintptr) { unix.Sendmsg(int(s), []byte(p), unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL) })
}

// More than the buffer for them holds: the kernel cuts the list.
func TestTruncatedListOfDescriptors(t *testing.T) {
	leaktest.Settle()
	before := open(t)
	a, b := conns(t, unix.SOCK_STREAM, Take)
	fd := file(t, "x")
	raw(t, a, "m", []int{fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd})
	read(t, b, 1)
	got := len(b.taken)
	if got == 0 || got >= 20 {
		t.Errorf("%d of 20 descriptors came, want what 64 bytes hold", got)
	}
	b.Close()
	a.Close()
	if n := open(t); n != before+1 {
		t.Errorf("%d are open, want %d", n, before+1)
	}
}

// With a full table the kernel drops a descriptor; its message must not get
// that of another.
func TestFAULTS_F26_LostDescriptorKeepsItsPlace(t *testing.T) {
	a, b := conns(t, unix.SOCK_STREAM, Take)
	first, second := file(t, "first"), file(t, "second")
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	next := dup(t, first) // the lowest number that is free
	unix.Close(next)
	a.WriteFD([]byte("first"), first)
	a.WriteFD([]byte("second"), second)
	full := old
	full.Cur = uint64(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &full); err != nil {
		t.Fatal(err)
	}
	read(t, b, 1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	read(t, b, len("irst")+len("second"))
	if fd, ok := b.Taken(); !ok || fd != -1 {
		t.Errorf("of the first message: %d, %v; want -1, true", fd, ok)
	}
	if fd, ok := b.Taken(); !ok || fd < 0 || content(t, fd) != "second" {
		t.Errorf("of the second message: %d, %v", fd, ok)
	}
}

func TestRecordsStayApart(t *testing.T) {
	a, b := conns(t, unix.SOCK_SEQPACKET, Take)
	a.Write([]byte("one"))
	a.WriteFD([]byte("two and a descriptor"), file(t, "x"))
	buf := make([]byte, 100)
	for _, want := range []string{"one", "two and a descriptor"} {
		if n, err := b.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("record %q, %v; want %q", buf[:n], err, want)
		}
	}
	if fd, ok := b.Taken(); !ok || content(t, fd) != "x" {
		t.Error("the second record's descriptor is not there")
	}
	for a.TrySend(make([]byte, 4096), -1) == nil {
	}
	if err := a.TrySend([]byte("x"), -1); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a full socket: %v, want EAGAIN", err)
	}
}

func TestEndsAndDeadlines(t *testing.T) {
	a, b := conns(t, unix.SOCK_STREAM)
	if n, err := a.Write(nil); n != 0 || err != nil {
		t.Errorf("an empty Write: %d, %v", n, err)
	}
	a.BoundWrites(time.Second)
	if n, err := a.Write(nil); n != 0 || err != nil {
		t.Errorf("an empty bounded Write: %d, %v", n, err)
	}
	if n, err := b.Read(nil); n != 0 || err != nil {
		t.Errorf("an empty Read: %d, %v", n, err)
	}
	b.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after its deadline: %v", err)
	}
	b.SetReadDeadline(time.Time{})
	a.Write([]byte("last"))
	a.Close()
	if got := read(t, b, 4); got != "last" {
		t.Errorf("what was written before the end: %q", got)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("write to who is gone: %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); err != net.ErrClosed {
		t.Errorf("read of a closed one: %v", err)
	}
	if _, err := a.WriteFD([]byte("x"), 0); err != net.ErrClosed {
		t.Errorf("write of a closed one: %v", err)
	}
	if err := a.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
}

// A peer that does not read ends a bounded Write, and one that does gets it all.
func TestBoundedWrite(t *testing.T) {
	a, b := conns(t, unix.SOCK_STREAM)
	a.BoundWrites(20 * time.Millisecond)
	big := bytes.Repeat([]byte("0123456789"), 1<<20/10)
	if _, err := a.Write(big); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("nobody reads: %v", err)
	}

	a, b = conns(t, unix.SOCK_STREAM, Take)
	a.BoundWrites(10 * time.Second)
	got := make(chan []byte)
	go func() {
		p := make([]byte, len(big))
		io.ReadFull(b, p)
		got <- p
	}()
	if n, err := a.WriteFD(big, file(t, "x")); n != len(big) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	if !bytes.Equal(<-got, big) {
		t.Error("other bytes came")
	}
	fd, ok := b.Taken()
	if !ok || content(t, fd) != "x" {
		t.Error("its descriptor did not come, or not once")
	}
	if _, ok := b.Taken(); ok {
		t.Error("it came twice")
	}
}

func TestShutdownEndsBothSides(t *testing.T) {
	a, b := conns(t, unix.SOCK_STREAM)
	if err := a.Shutdown(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*Conn{"own": a, "peer": b} {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s side: %v", name, err)
		}
	}
}

func TestFromUnixTakesTheConnectionOver(t *testing.T) {
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/s", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	u, err := net.DialUnix("unix", nil, lis.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	c, err := FromUnix(u)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := lis.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := u.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the old one still writes: %v", err)
	}
	c.Write([]byte("hello"))
	b := make([]byte, 5)
	if _, err := io.ReadFull(s, b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestNewRefusesWhatIsNoSocket(t *testing.T) {
	leaktest.Settle()
	before := open(t)
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := New(fd); err == nil {
		c.Close()
		t.Error("a device is a Conn")
	}
	if n := open(t); n != before {
		t.Errorf("%d are open, want %d", n, before)
	}
	if _, err := New(1 << 20); err == nil {
		t.Error("a number that is no descriptor is a Conn")
	}
}
