// Package config is sigmad's configuration: one struct, said as a YAML file,
// as flags, or as SIGMA_* variables under the same names. Flags win over the
// environment, that over the file, that over the defaults.
package config

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// Config of one sigmad. The json tag is the name in the file; the flag is the
// same and the variable SIGMA_ with capitals and _. The help tag gives meaning,
// unit and, where it is not shown by itself, the default.
type Config struct {
	Name       string   `json:"name" help:"name of this instance; its directories are named after it"`
	Roles      []string `json:"roles" help:"what this node is willing to do"`
	Node       string   `json:"node" help:"name of this node (default: the host's name)"`
	DataDir    string   `json:"data-dir" help:"what must survive (default /var/lib/sigma/NAME)"`
	RunDir     string   `json:"run-dir" help:"sockets and mounts (default /run/sigma/NAME)"`
	Metrics    string   `json:"metrics" help:"address of /metrics; \"off\" is none"`
	Listen     string   `json:"listen" help:"address of this node's port for other nodes; \"off\" is none"`
	Advertise  string   `json:"advertise" help:"address at which others reach that port (default: where it listens, or this machine's first)"`
	Join       []string `json:"join" help:"HOST:PORT of nodes of the cluster to join"`
	TokenFile  string   `json:"token-file" help:"file with the cluster's token, for the first start of a node that joins"`
	Bootstrap  bool     `json:"bootstrap" help:"make a new cluster here; a node with role named that joins nobody does so anyway"`
	Domain     string   `json:"domain" help:"failure domain of this node: a rack, a zone"`
	ReplaceMS  int64    `json:"replace-ms" help:"ms of absence after which another node with role named takes over an etcd peer with a vote"`
	NoticeMS   int64    `json:"notice-ms" help:"ms within which the death of a node is noticed"`
	Gateway    string   `json:"gateway" help:"address for programs outside, over TLS with a realm's token; \"off\" is none"`
	Gateway9P  string   `json:"gateway-9p" help:"address for clients of plain 9P2000.L, which show a realm's token in clear; \"off\" is none"`
	Ranges9P   []string `json:"gateway-9p-ranges" help:"address ranges of those clients (default: this machine)"`
	Ingress    []string `json:"ingress" help:"ADDR:PORT=REALM:PATH: where load-balancers deliver connections, with a PROXY header of version 2"`
	LBRanges   []string `json:"lb-ranges" help:"address ranges of the load-balancers"`
	LogLevel   string   `json:"log-level" help:"debug, info, warn or error"`
	LogRate    int64    `json:"log-rate" help:"output taken from one proc, bytes/s"`
	LogBytes   int64    `json:"log-bytes" help:"output kept of one realm, bytes"`
	S3Dir      string   `json:"s3-dir" help:"where the S3 server that a fresh cluster brings keeps its buckets, on the first node with role s3 (default DATA-DIR/s3); \"off\": not on this node"`
	S3Server   string   `json:"s3-server" help:"the program of that server (default: versitygw beside sigmad)"`
	S3Bytes    int64    `json:"s3-bytes" help:"what one realm may keep in that server, bytes"`
	DBBytes    int64    `json:"db-bytes" help:"size of one realm's SQLite database, bytes"`
	Memory     int64    `json:"memory" help:"memory offered to procs, bytes (default: 90 % of what there is)"`
	MCPU       int64    `json:"mcpu" help:"CPU offered to procs, 1000 is a core (default: all cores)"`
	UIDBase    int64    `json:"uid-base" help:"first uid of the σcontainers"`
	UIDCount   int64    `json:"uid-count" help:"how many uids the σcontainers may use"`
	CgroupRoot string   `json:"cgroup-root" help:"cgroup that the nodes of a machine share"`
	SlotsWarm  int      `json:"slots-warm" help:"σcontainers that take turns in a busy realm (default: cores + 1; more only cost cache)"`
	MaxProcs   int      `json:"max-procs" help:"σcontainers of this node in all; a realm has three quarters at most"`
	QosDevice  string   `json:"qos-device" help:"network device on which latency-critical procs' packets go first; empty is none"`
	QosRate    int64    `json:"qos-rate" help:"what that device can send, bits/s"`
	Deny       []string `json:"deny" help:"address ranges of the provider that procs may not dial, beside private ones and this machine's"`
	Allow      []string `json:"allow" help:"private address ranges that procs may dial all the same"`
	Insecure   bool     `json:"insecure" help:"run procs although this kernel has neither Landlock nor AppArmor"`
}

// Default is what sigmad starts from; Dev what sigmad dev does.
func Default() Config {
	return Config{
		Name: "sigma", Roles: []string{"node", "besched", "lcsched", "named", "s3", "db"}, Metrics: "127.0.0.1:9470", LogLevel: "info",
		LogRate: 8 << 20, LogBytes: 64 << 20, UIDBase: 1_900_000_000, UIDCount: 16384, CgroupRoot: "sigma",
		MaxProcs: 1536, NoticeMS: 3000, ReplaceMS: 600_000, S3Bytes: 16 << 30, DBBytes: 1 << 30,
	}
}

// Dev is Default for a cluster on one's own machine.
func Dev() Config {
	c := Default()
	c.Name, c.Metrics, c.Gateway, c.LogLevel = "dev", "127.0.0.1:0", "127.0.0.1:0", "warn"
	return c
}

// Ranges are Deny and Allow.
func (c Config) Ranges() (deny, allow []netip.Prefix, err error) {
	deny, err = prefixes("deny", c.Deny)
	if err == nil {
		allow, err = prefixes("allow", c.Allow)
	}
	return deny, allow, err
}

// Balancers are LBRanges.
func (c Config) Balancers() ([]netip.Prefix, error) { return prefixes("lb-ranges", c.LBRanges) }

// Clients9P are Ranges9P.
func (c Config) Clients9P() ([]netip.Prefix, error) {
	list := c.Ranges9P
	if len(list) == 0 {
		list = []string{"127.0.0.0/8", "::1/128"}
	}
	return prefixes("gateway-9p-ranges", list)
}

func prefixes(name string, list []string) (out []netip.Prefix, err error) {
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("config: %s has %q; want ranges such as 10.1.0.0/16", name, s)
		}
		out = append(out, p)
	}
	return out, nil
}

// Notice is NoticeMS.
func (c Config) Notice() time.Duration { return time.Duration(c.NoticeMS) * time.Millisecond }

// Replace is ReplaceMS.
func (c Config) Replace() time.Duration { return time.Duration(c.ReplaceMS) * time.Millisecond }

// Reachable is the host at which others reach this machine: the node's name,
// where nothing better was said.
func (c Config) Reachable() string { return c.Node }

// Level is LogLevel for slog.
func (c Config) Level() slog.Level {
	var l slog.Level
	l.UnmarshalText([]byte(c.LogLevel))
	return l
}

// sizes are the fields that take 64MiB and the like.
var sizes = []string{"log-rate", "log-bytes", "memory", "db-bytes", "s3-bytes"}

// Bind adds a flag for every field and --config, and returns what reads them
// all once the flags are parsed.
func Bind(flags *pflag.FlagSet, base Config) func() (Config, error) {
	file := flags.String("config", os.Getenv("SIGMA_CONFIG"), "YAML file with any of these settings")
	said := make(map[string]*string)
	each(&base, func(name, help string, v reflect.Value) {
		s := new(string)
		said[name] = s
		def := show(v)
		if v.IsZero() && v.Kind() != reflect.Bool {
			def = ""
		}
		flags.StringVar(s, name, def, help)
		if v.Kind() == reflect.Bool {
			flags.Lookup(name).NoOptDefVal = "true"
		}
	})
	return func() (Config, error) {
		c := base
		if *file != "" {
			b, err := os.ReadFile(*file)
			if err != nil {
				return c, fmt.Errorf("config: %w", err)
			}
			if err := yaml.UnmarshalStrict(b, &c); err != nil {
				return c, fmt.Errorf("config: %s: %w; known are %s", *file, err, strings.Join(names(), ", "))
			}
		}
		var err error
		each(&c, func(name, _ string, v reflect.Value) {
			from := "--" + name
			s := *said[name]
			if !flags.Changed(name) {
				from = Variable(name)
				var ok bool
				if s, ok = os.LookupEnv(from); !ok {
					return
				}
			}
			if serr := set(v, s, slices.Contains(sizes, name)); serr != nil && err == nil {
				err = fmt.Errorf("config: %s=%q: %w", from, s, serr)
			}
		})
		if err != nil {
			return c, err
		}
		c.fill()
		return c, c.validate()
	}
}

// Variable is the environment's name of a setting.
func Variable(name string) string {
	return "SIGMA_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func each(c *Config, fn func(name, help string, v reflect.Value)) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		fn(f.Tag.Get("json"), f.Tag.Get("help"), v.Field(i))
	}
}

func names() (out []string) {
	each(&Config{}, func(name, _ string, _ reflect.Value) { out = append(out, name) })
	return out
}

func show(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		return strings.Join(v.Interface().([]string), ",")
	}
	return fmt.Sprint(v.Interface())
}

func set(v reflect.Value, s string, size bool) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("want true or false")
		}
		v.SetBool(b)
	case reflect.Slice:
		v.Set(reflect.ValueOf(strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })))
	default:
		mul := int64(1)
		if size {
			for _, u := range []struct {
				suffix string
				n      int64
			}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}} {
				if t, ok := strings.CutSuffix(s, u.suffix); ok {
					s, mul = t, u.n
				}
			}
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > math.MaxInt64/mul || n < math.MinInt64/mul {
			return fmt.Errorf("want a whole number, for sizes also with KiB, MiB or GiB")
		}
		v.SetInt(n * mul)
	}
	return nil
}

// fill computes the defaults that depend on others or on the machine.
func (c *Config) fill() {
	if c.DataDir == "" {
		c.DataDir = "/var/lib/sigma/" + c.Name
	}
	if c.RunDir == "" {
		c.RunDir = "/run/sigma/" + c.Name
	}
	for _, p := range []*string{&c.DataDir, &c.RunDir, &c.TokenFile, &c.S3Dir, &c.S3Server} {
		if *p != "" && *p != "off" { // sigmad does not stay where it was started
			*p, _ = filepath.Abs(*p)
		}
	}
	if c.S3Dir == "" {
		c.S3Dir = filepath.Join(c.DataDir, "s3")
	}
	if c.Node == "" {
		c.Node, _ = os.Hostname()
		if c.Node == "" {
			c.Node = "node"
		}
	}
	if c.MCPU == 0 {
		c.MCPU = int64(runtime.NumCPU()) * 1000
	}
	if c.Memory == 0 {
		c.Memory = machineMemory() / 10 * 9
	}
	if c.SlotsWarm == 0 {
		c.SlotsWarm = runtime.NumCPU() + 1
	}
	for _, addr := range []*string{&c.Metrics, &c.Gateway, &c.Gateway9P, &c.Listen, &c.S3Dir} {
		if *addr == "off" {
			*addr = ""
		}
	}
}

func machineMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 1 << 30
	}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 1 << 30
}

var nameRule = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func (c Config) validate() error {
	bad := func(name string, v any, want string) error {
		return fmt.Errorf("config: %s is %v; want %s", name, v, want)
	}
	switch {
	case !nameRule.MatchString(c.Name):
		return bad("name", strconv.Quote(c.Name), "1 to 40 of a-z, 0-9 and -")
	case !nameRule.MatchString(c.CgroupRoot):
		return bad("cgroup-root", strconv.Quote(c.CgroupRoot), "1 to 40 of a-z, 0-9 and -")
	case len(c.Roles) == 0:
		return bad("roles", "empty", "at least one")
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel):
		return bad("log-level", strconv.Quote(c.LogLevel), "debug, info, warn or error")
	case c.UIDBase < 100_000 || c.UIDBase+c.UIDCount > 1<<31:
		return bad("uid-base", c.UIDBase, "100000 or more, and all uids below 2^31")
	}
	if _, _, err := c.Ranges(); err != nil {
		return err
	}
	if _, err := c.Balancers(); err != nil {
		return err
	}
	if err := c.check9P(); err != nil {
		return err
	}
	if c.QosDevice != "" && c.QosRate < 1_000_000 {
		return bad("qos-rate", c.QosRate, "what the device of qos-device can send, 1000000 bits/s or more")
	}
	for _, f := range []struct {
		name     string
		v        int64
		min, max int64
	}{
		{"uid-count", c.UIDCount, 1, 1 << 24}, {"log-rate", c.LogRate, 1 << 10, 1 << 40}, {"log-bytes", c.LogBytes, 4 << 20, 1 << 44},
		{"memory", c.Memory, 16 << 20, 1 << 50}, {"mcpu", c.MCPU, 10, 1 << 24},
		{"db-bytes", c.DBBytes, 1 << 20, 1 << 44}, {"s3-bytes", c.S3Bytes, 1 << 20, 1 << 50},
		{"notice-ms", c.NoticeMS, 200, 600_000}, {"replace-ms", c.ReplaceMS, 1000, 30 * 24 * 3_600_000},
		{"slots-warm", int64(c.SlotsWarm), 1, 256}, {"max-procs", int64(c.MaxProcs), 1, 1 << 16},
	} {
		if f.v < f.min || f.v > f.max {
			return bad(f.name, f.v, fmt.Sprintf("%d … %d", f.min, f.max))
		}
	}
	return nil
}

// check9P checks what plain 9P needs to begin, so that a node says at once that it
// would not.
func (c Config) check9P() error {
	if _, err := c.Clients9P(); err != nil {
		return err
	}
	if c.Gateway9P == "" {
		if len(c.Ranges9P) > 0 {
			return fmt.Errorf("config: gateway-9p-ranges is %s and gateway-9p is empty; want its address too", strings.Join(c.Ranges9P, ","))
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.Gateway9P)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil {
		return fmt.Errorf("config: gateway-9p is %q; want ADDR:PORT", c.Gateway9P)
	}
	if host == "localhost" || len(c.Ranges9P) > 0 {
		return nil
	}
	if a, err := netip.ParseAddr(host); err != nil || !a.IsLoopback() {
		return fmt.Errorf("config: gateway-9p is %q and gateway-9p-ranges is empty; tokens and data cross the network in clear: want the ranges that may connect, or a loopback address", c.Gateway9P)
	}
	return nil
}
