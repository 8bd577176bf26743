// Package dbtest gives tests a real PostgreSQL: Debian's, as a cluster in a
// directory of the test's.
package dbtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a PostgreSQL that runs.
type Server struct {
	URL      string // of a user who may make roles and databases, and no more
	Password string
	Super    string // URL of the superuser, without a password
	PID      int
}

// Start runs a server until the test's end. A test that needs one is skipped where
// none is installed.
func Start(t testing.TB) Server {
	t.Helper()
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(list) == 0 {
		t.Skip("no PostgreSQL is installed (Debian: apt-get install postgresql)")
	}
	bin := list[len(list)-1]
	who, err := user.Lookup("postgres")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and the user postgres")
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	pass := filepath.Join(dir, "pass")
	if err := os.WriteFile(pass, []byte("super\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	for _, d := range []string{dir, data} {
		os.MkdirAll(d, 0o700)
		if err := os.Chown(d, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	as := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "PGPASSWORD=super"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Setpgid: true}
		return cmd
	}
	if out, err := as("initdb", "-D", data, "-U", "super", "--pwfile", pass, "-A", "scram-sha-256", "-N", "--no-instructions").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	port := freePort(t)
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	cmd := as("postgres", "-D", data, "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-k", "", "-F", "-c", "max_connections=40", "-c", "shared_buffers=16MB", "-c", "autovacuum=off")
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cmd.Process.Signal(syscall.SIGQUIT)
			<-done
		})
	}
	t.Cleanup(stop)
	psql := func(sql string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		c := exec.CommandContext(ctx, filepath.Join(bin, "psql"), "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-U", "super", "-d", "postgres", "-c", sql)
		c.Env = []string{"PGPASSWORD=super", "LC_ALL=C.UTF-8"}
		out, err := c.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := psql("CREATE ROLE sigma LOGIN CREATEROLE CREATEDB PASSWORD 'the-provider''s'")
		if err == nil {
			break
		}
		if time.Now().After(end) {
			b, _ := os.ReadFile(logFile.Name())
			t.Fatalf("PostgreSQL does not answer: %v\n%s", err, b)
		}
	}
	at := fmt.Sprintf("127.0.0.1:%d/postgres?sslmode=disable", port)
	return Server{URL: "postgres://sigma@" + at, Password: "the-provider's", Super: "postgres://super@" + at, PID: cmd.Process.Pid}
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
