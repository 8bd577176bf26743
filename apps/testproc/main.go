// Testproc is a proc with a behaviour for each test that needs one; its first
// argument names it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/job"
)

func main() {
	ctx := context.Background()
	verb, args := "-q", os.Args[min(2, len(os.Args)):]
	if len(os.Args) > 1 {
		verb = os.Args[1]
	}
	arg := func(i int) string { return args[min(i, len(args)-1)] }
	switch verb {
	case "-q":
	case "sleep":
		sigma.Started(ctx)
		time.Sleep(time.Hour)
	case "mark": // leaves a file for each start in a directory
		_, err := sigma.PutFile(ctx, fmt.Sprintf("%s/%d", arg(0), time.Now().UnixNano()), nil)
		fail(err)
		sigma.Started(ctx)
		time.Sleep(time.Hour)
	case "nap": // notes that it started, once, sleeps so many ms, and says the note's name
		fail(note(ctx, arg(0)))
		sigma.Started(ctx)
		ms, _ := strconv.Atoi(arg(1))
		time.Sleep(time.Duration(ms) * time.Millisecond)
		sigma.Exited(sigma.Status{Data: []byte(arg(0))})
	case "trace": // leaves a file for each start in a directory, sleeps so many ms
		_, err := sigma.PutFile(ctx, fmt.Sprintf("%s/%d", arg(0), time.Now().UnixNano()), nil)
		fail(err)
		sigma.Started(ctx)
		ms, _ := strconv.Atoi(arg(1))
		time.Sleep(time.Duration(ms) * time.Millisecond)
	case "scribble": // writes again and again, and says what became of each write
		fail(scribble(ctx, arg(0)))
	case "lead": // waits until it leads, and writes as long as it does
		fail(lead(ctx, arg(0), arg(1)))
	case "graceful": // heeds WaitKill
		sigma.Started(ctx)
		sigma.WaitKill(ctx)
		sigma.Exited(sigma.Status{Code: 7, Data: []byte("bye")})
	case "serve": // answers at a path, and ends without cutting anybody off
		fail(serve(ctx, arg(0)))
		sigma.Exited(sigma.Status{})
	case "exit":
		code, _ := strconv.Atoi(arg(0))
		os.Exit(code)
	case "segv":
		var p *int
		*p = 1
	case "mem": // touches so many MiB
		fmt.Println(touch(arg(0))[0])
	case "burn": // so many ms of CPU
		ms, _ := strconv.Atoi(arg(0))
		for {
			if used, _ := job.Usage(); used > time.Duration(ms)*time.Millisecond {
				break
			}
		}
	case "hold": // the same, and stays
		b := touch(arg(0))
		sigma.Started(ctx)
		time.Sleep(time.Hour)
		fmt.Println(b[0])
	case "reserve": // touches it when it is asked to end
		sigma.Started(ctx)
		sigma.WaitKill(ctx)
		b := touch(arg(0))
		sigma.Exited(sigma.Status{Data: []byte("touched"), Code: int(b[0]) - 1})
	case "orphan": // leaves a child behind
		id, err := sigma.Spawn(ctx, &sigma.Desc{Program: arg(0), Args: []string{"sleep"}})
		if err == nil {
			err = sigma.WaitStart(ctx, id)
		}
		fail(err)
		sigma.Exited(sigma.Status{Data: []byte(id)})
	case "print": // N lines of a length
		n, _ := strconv.Atoi(arg(0))
		length, _ := strconv.Atoi(arg(1))
		line := strings.Repeat("x", length) + "\n"
		for range n {
			os.Stdout.WriteString(line)
		}
	case "denied": // asks so often for what it may not have
		n, _ := strconv.Atoi(arg(0))
		for range n {
			syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
			syscall.Mkdirat(0, "/x", 0)
		}
	case "files": // does with files what the paper's Table 1 has
		fail(files(ctx, arg(0)))
	case "objects": // writes and reads in a bucket
		fail(objects(ctx, arg(0)))
	case "sql": // runs queries in one session of its realm's database
		fail(queries(ctx, args))
	case "look": // what it sees of the machine
		for _, dir := range []string{"/", "/etc", "/dev", "/mnt", "/proc"} {
			list, err := os.ReadDir(dir)
			var names []string
			for _, e := range list {
				names = append(names, e.Name())
			}
			fmt.Println("dir", dir, strings.Join(names, " "), err)
		}
		for _, f := range []string{"/proc/self/status", "/proc/self/mountinfo", "/proc/self/cgroup"} {
			b, err := os.ReadFile(f)
			fmt.Printf("file %s\n%s%v\n", f, b, err)
		}
		fmt.Println("write", os.WriteFile("/etc/x", nil, 0o600))
		fmt.Println("env", os.Environ())
	case "forge": // frames that no library writes
		forged(ctx, arg(0))
	case "meddle": // with a proc of somebody else's
		meddle(ctx, api.ProcID(arg(0)))
	case "flood": // a frame of 10 MB
		sigma.Self().Exited(sigma.Status{Message: "before"})
		_, err := syscall.Write(3, append([]byte{0, 0, 160, 0, 1, 4, 0, 0, 1, 0, 0, 0}, make([]byte, 1<<20)...))
		fmt.Println(err)
		_, err = sigma.Spawn(ctx, &sigma.Desc{Program: arg(0)})
		fmt.Println(api.KindOf(err))
	default:
		fail(fmt.Errorf("no behaviour %q", verb))
	}
}

// touch has so many MiB of memory in use.
func touch(mib string) []byte {
	n, _ := strconv.Atoi(mib)
	b := make([]byte, max(n<<20, 1))
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return b
}

// note makes a file that must not be there yet: whoever finds another's was
// started for the second time. Where the names are out of reach nothing is noted.
func note(ctx context.Context, path string) error {
	mine := fmt.Appendf(nil, "%d %d", os.Getpid(), time.Now().UnixNano())
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := sigma.PutFile(ctx, path, mine, sigma.Exclusive()); api.KindOf(err) != api.Exists {
		return nil
	}
	if b, _, err := sigma.GetFile(ctx, path); err == nil && !bytes.Equal(b, mine) { // else a repeated request met its own
		return fmt.Errorf("started twice: %s has %s, not %s", path, b, mine)
	}
	return nil
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "testproc:", err)
		sigma.Exited(sigma.Status{Code: 1, Message: err.Error()})
		os.Exit(1)
	}
}
