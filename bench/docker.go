package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"sigmaos/bench/lab"
)

// dockerRounds are fewer than the others: each starts two containers.
const dockerRounds = 7

// dockerLink is TCP between two containers on docker's own bridge.
type dockerLink struct {
	here  *lab.Space
	image string
}

// docker adds the rows of containers, where a docker engine answers.
func (r *Result) docker(ctx context.Context, o Options, n int, p plan, raw *series, at place) (err error) {
	none := func(why string) error {
		r.Rows = append(r.Rows, Result{Bench: r.Bench, Row: "docker-bridge", Note: "not measured: " + why})
		return nil
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return none("docker is not installed")
	}
	if _, err := docker(ctx, nil, "info", "--format", "{{.ServerVersion}}"); err != nil {
		return none("no docker engine answers")
	}
	l := dockerLink{image: "sigma-bench:" + strconv.Itoa(cores())}
	if l.here, err = lab.Here(); err != nil {
		return err
	}
	defer l.here.Close()
	// An image of this one static program.
	tar, err := exec.CommandContext(ctx, "tar", "-C", o.Programs, "-c", "benchproc").Output()
	if err != nil {
		return fmt.Errorf("bench: tar: %w", err)
	}
	if _, err := docker(ctx, bytes.NewReader(tar), "import", "-", l.image); err != nil {
		return err
	}
	defer func() {
		_, rerr := docker(context.WithoutCancel(ctx), nil, "image", "rm", "-f", l.image)
		err = errors.Join(err, rerr)
	}()
	fmt.Fprintf(o.Log, "docker's bridge: %d rounds\n", min(n, dockerRounds))
	s := &series{name: "docker-bridge", link: l, at: at, plan: p}
	if err := interleave(ctx, min(n, dockerRounds), s); err != nil {
		return err
	}
	list := rows(r.Bench, s, raw)
	for i := range list { // not measured in turn with these
		list[i].Paired = nil
	}
	r.Rows = append(r.Rows, list...)
	return nil
}

// docker runs the client and returns its output.
func docker(ctx context.Context, in io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	var out, errb bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errb
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("bench: docker %s: %w: %s", args[0], err, strings.TrimSpace(errb.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

func (l dockerLink) open(ctx context.Context, plan []string) (_ *session, err error) {
	var made []string
	remove := func() {
		for _, id := range made {
			docker(context.WithoutCancel(ctx), nil, "rm", "-f", id)
		}
	}
	defer func() {
		if err != nil {
			remove()
		}
	}()
	run := []string{"run", "-e", goEnv[0], "--entrypoint", "/benchproc"}
	server, err := docker(ctx, nil, append(run, "-d", l.image, "raw", "serve", "tcp", "0.0.0.0:7000")...)
	if err != nil {
		return nil, err
	}
	made = append(made, server)
	addr, err := docker(ctx, nil, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", server)
	if err != nil {
		return nil, err
	}
	name := "sigma-bench-" + strconv.FormatInt(now(), 36)
	cli, err := startPlain(ctx, l.here, nil, os.Environ(), "docker", append(append(run, "--name", name, l.image, "raw", "run", "tcp", addr+":7000"), plan...)...)
	if err != nil {
		return nil, err
	}
	made = append(made, name)
	if _, err := cli.line(); err != nil {
		return nil, err
	}
	s := &session{result: func(context.Context) ([]byte, error) { return cli.rest() }, close: func() { cli.kill(); remove() }}
	if s.server, err = containerPID(ctx, server); err == nil {
		s.client, err = containerPID(ctx, name)
	}
	if err != nil {
		cli.kill()
		return nil, err
	}
	return s, nil
}

func containerPID(ctx context.Context, id string) (int, error) {
	s, err := docker(ctx, nil, "inspect", "-f", "{{.State.Pid}}", id)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(s)
}
