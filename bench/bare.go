package bench

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func now() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// bare starts a program with nothing around it, as os.StartProcess does
// (vfork and exec), and returns ns from the call to its first line of main. The
// program writes its Exited frame to descriptor 3, a socket as in a slot.
func bare(path string) (float64, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(p[0])
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		unix.Close(p[1])
		return 0, err
	}
	defer null.Close()
	n := null.Fd()
	begin := now()
	pid, err := syscall.ForkExec(path, []string{path, "-q"}, &syscall.ProcAttr{Files: []uintptr{n, n, n, uintptr(p[1])}})
	unix.Close(p[1])
	if err != nil {
		return 0, err
	}
	var buf [256]byte
	k, rerr := unix.Read(p[0], buf[:])
	var ws unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
	if rerr != nil || err != nil || k < 17 {
		return 0, &os.PathError{Op: "bare start", Path: path, Err: unix.EPROTO}
	}
	// 12 bytes of frame head, 4 of field head, then the stamp.
	main, err := strconv.ParseInt(strings.TrimRight(string(buf[16:k]), "\x00"), 10, 64)
	return float64(main - begin), err
}

// bareRate starts and waits for path from n loops at once for d and returns
// starts per second.
func bareRate(path string, n int, d time.Duration) (float64, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	fd := null.Fd()
	var wg sync.WaitGroup
	counts := make([]int, n)
	errs := make([]error, n)
	begin := time.Now()
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Since(begin) < d {
				pid, err := syscall.ForkExec(path, []string{path, "-q"}, &syscall.ProcAttr{Files: []uintptr{fd, fd, fd, fd}})
				if err != nil {
					errs[i] = err
					return
				}
				var ws unix.WaitStatus
				for {
					if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
						break
					}
				}
				counts[i]++
			}
		}()
	}
	wg.Wait()
	took := time.Since(begin).Seconds()
	sum := 0
	for i := range n {
		if errs[i] != nil {
			return 0, errs[i]
		}
		sum += counts[i]
	}
	return float64(sum) / took, nil
}
