package trial

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sigmaos/internal/clock"
	"sigmaos/net/pki"
)

// The members. Home offers nothing: it takes no proc and holds no shard.
var (
	names   = []string{"home", "shard", "node"}
	offered = map[string][]string{"shard": {"besched", "lcsched"}, "node": {"node"}}
)

// cluster is home with the other two.
type cluster struct {
	*part
	others []*other
}

// other is a process that home has started. It ends with its standard input.
type other struct {
	name string
	cmd  *exec.Cmd
	pipe io.Closer
	in   *json.Encoder
	out  *json.Decoder
}

func startCluster(dir string) (_ *cluster, err error) {
	if err := certify(dir); err != nil {
		return nil, err
	}
	p, err := listen(dir, names[0])
	if err != nil {
		return nil, err
	}
	c := &cluster{part: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	members := []member{{Name: names[0], Addr: p.port.Addr().String()}}
	for _, name := range names[1:] {
		o, err := startOther(dir, name)
		if err != nil {
			return nil, err
		}
		c.others = append(c.others, o)
		var l listens
		if err := o.out.Decode(&l); err != nil {
			return nil, fmt.Errorf("%s does not listen: %w", name, err)
		}
		members = append(members, member{Name: name, Addr: l.Addr})
	}
	for _, o := range c.others {
		if err := o.in.Encode(meeting{members}); err != nil {
			return nil, err
		}
		if err := o.out.Decode(new(used)); err != nil {
			return nil, fmt.Errorf("%s does not start: %w", o.name, err)
		}
	}
	return c, p.meet(members)
}

// certify makes a CA, of which nobody keeps the key, and an identity for each.
func certify(dir string) error {
	ca, err := pki.CreateAuthority("trial", time.Now())
	if err != nil {
		return err
	}
	trust, err := pki.NewTrust(ca.Certificate())
	if err != nil {
		return err
	}
	for i, name := range names {
		id, err := pki.LoadOrCreate(identityDir(dir, name), clock.Real())
		if err != nil {
			return err
		}
		csr, err := id.CSR()
		if err != nil {
			return err
		}
		chain, err := ca.Sign(csr, name, number(i), time.Now())
		if err != nil {
			return err
		}
		if err := id.Install(chain, trust.Marshal()); err != nil {
			return err
		}
	}
	return nil
}

func identityDir(dir, name string) string { return filepath.Join(dir, name, "identity") }

func startOther(dir, name string) (*other, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{ProcessName, dir, name}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return &other{name: name, cmd: cmd, pipe: in, in: json.NewEncoder(in), out: json.NewDecoder(out)}, nil
}

// ask has it say what it has done so far.
func (o *other) ask() (u used, err error) {
	if err := o.in.Encode(asked{}); err != nil {
		return u, err
	}
	if err := o.out.Decode(&u); err != nil {
		return u, fmt.Errorf("%s has ended: %w", o.name, err)
	}
	return u, nil
}

const stopTime = 10 * time.Second

func (o *other) stop() error {
	o.pipe.Close()
	late := time.AfterFunc(stopTime, func() { o.cmd.Process.Kill() })
	defer late.Stop()
	if err := o.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	return nil
}

func (c *cluster) close() error {
	var errs []error
	for _, o := range c.others {
		errs = append(errs, o.stop())
	}
	return errors.Join(append(errs, c.part.close())...)
}
