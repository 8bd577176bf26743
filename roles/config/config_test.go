package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func load(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("t", pflag.ContinueOnError)
	get := Bind(fs, Default())
	if err := fs.Parse(args); err != nil {
		return Config{}, err
	}
	return get()
}

func TestSourcesAndTheirOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	os.WriteFile(file, []byte("name: from-file\nmax-procs: 7\nlog-rate: 4096\nroles: [named]\n"), 0o600)
	t.Setenv("SIGMA_MAX_PROCS", "8")
	t.Setenv("SIGMA_LOG_RATE", "2MiB")
	c, err := load(t, "--config", file, "--log-rate", "3MiB")
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "from-file" || c.MaxProcs != 8 || c.LogRate != 3<<20 || len(c.Roles) != 1 || c.SlotsWarm < 2 {
		t.Errorf("got %+v", c)
	}
	if c.DataDir != "/var/lib/sigma/from-file" {
		t.Errorf("data-dir %q does not follow the name", c.DataDir)
	}
}

func TestBadValuesSayWhatIsWanted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	os.WriteFile(file, []byte("nmae: x\n"), 0o600)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"unknown key":              {[]string{"--config", file}, "max-procs"},
		"no file":                  {[]string{"--config", "/does/not/exist"}, "no such file"},
		"not a number":             {[]string{"--max-procs", "many"}, "whole number"},
		"NaN":                      {[]string{"--memory", "NaN"}, "whole number"},
		"overflow":                 {[]string{"--memory", "9999999999GiB"}, "whole number"},
		"negative":                 {[]string{"--mcpu", "-5"}, "10 …"},
		"level":                    {[]string{"--log-level", "loud"}, "debug, info"},
		"name":                     {[]string{"--name", "../x"}, "a-z"},
		"9P without a port":        {[]string{"--gateway-9p", "127.0.0.1"}, "ADDR:PORT"},
		"9P at a named port":       {[]string{"--gateway-9p", "127.0.0.1:9p"}, "ADDR:PORT"},
		"9P for everybody":         {[]string{"--gateway-9p", ":564"}, "gateway-9p-ranges is empty"},
		"9P for a whole network":   {[]string{"--gateway-9p", "10.0.0.1:564"}, "gateway-9p-ranges is empty"},
		"9P's ranges are none":     {[]string{"--gateway-9p", "10.0.0.1:564", "--gateway-9p-ranges", "10.0.0.0"}, "ranges such as"},
		"9P's ranges without 9P":   {[]string{"--gateway-9p-ranges", "10.0.0.0/8"}, "want its address"},
		"ranges of 9P that is off": {[]string{"--gateway-9p", "off", "--gateway-9p-ranges", "10.0.0.0/8"}, "want its address"},
		"uids too low":             {[]string{"--uid-base", "0"}, "100000"},
	} {
		if _, err := load(t, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want a text with %q", name, err, tt.want)
		}
	}
}

func TestEveryFieldHasAFlagAndHelp(t *testing.T) {
	fs := pflag.NewFlagSet("t", pflag.ContinueOnError)
	Bind(fs, Default())
	for _, n := range names() {
		if f := fs.Lookup(n); f == nil || f.Usage == "" {
			t.Errorf("field %q has no flag or no help", n)
		}
	}
}

func TestWhomPlain9PLetsIn(t *testing.T) {
	for _, tt := range []struct{ addr, ranges, from, out string }{
		{"127.0.0.1:0", "", "127.0.0.7", "10.0.0.1"},
		{"[::1]:564", "", "::1", "fe80::1"},
		{"localhost:564", "", "127.0.0.1", "192.168.0.1"},
		{":564", "10.1.0.0/16,fd00::/8", "10.1.255.3", "127.0.0.1"},
	} {
		args := []string{"--gateway-9p", tt.addr}
		if tt.ranges != "" {
			args = append(args, "--gateway-9p-ranges", tt.ranges)
		}
		c, err := load(t, args...)
		if err != nil {
			t.Errorf("%s: %v", tt.addr, err)
			continue
		}
		list, err := c.Clients9P()
		if err != nil {
			t.Errorf("%s: %v", tt.addr, err)
		}
		in := func(s string) bool {
			a := netip.MustParseAddr(s)
			return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
		}
		if !in(tt.from) || in(tt.out) {
			t.Errorf("%s lets in %v; want %s and not %s", tt.addr, list, tt.from, tt.out)
		}
	}
}
