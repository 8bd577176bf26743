package attack

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// The channel, endpoints, names: what a proc says, and who it says to be.
var channelRows = []row{
	{id: "N1", title: "endpoint of another realm", check: otherEndpoint},
	{id: "N2", title: "forged, cut, swollen endpoints; garbage in fields", check: forgedEndpoint},
	{id: "N5", title: "the provider's and all private addresses", check: provider},
	{id: "N7", title: "names that resolve to them", check: resolving},
	{id: "N8", title: "redirects", elsewhere: "TestPROBES_N5_N8_N35"},
	{id: "N10", title: "setup messages from outside", elsewhere: "TestPROBES_N10_N11"},
	{id: "N11", title: "replay of setups and joins", elsewhere: "TestPROBES_N11"},
	{id: "N13", title: "half, slow, deaf, endless use of the channel", check: badChannel},
	{id: "N14", title: "descriptors sent to sigmad", check: plain("N14", 5, answers{"the channel": {3}})},
	{id: "N16", title: "the channel outlives the main thread", check: lateThread},
	{id: "N17", title: "dials race with closes and removals", elsewhere: "TestPROBES_N17"},
	{id: "N19", title: "storms of dials", elsewhere: "TestPROBES_N19"},
	{id: "N21", title: "paths out of the realm", check: badPaths},
	{id: "N23", title: "loops of links", elsewhere: "TestPROBES_N23"},
	{id: "N25", title: "9P: lengths that lie, fids that are not", check: bad9P},
	{id: "N26", title: "/ux: links, devices, races", elsewhere: "TestPROBES_N26 in naming/ux"},
	{id: "N27", title: "remove, rename, replace system names", check: systemNames},
	{id: "N28", title: "floods of names and watches", elsewhere: "TestPROBES_N28"},
	{id: "N29", title: "forged spawns and calls", check: forgedFrames},
	{id: "N30", title: "procs of others, guessed procs", check: otherProcs},
	{id: "N32", title: "tokens of others and of the past", elsewhere: "TestPROBES_N32"},
	{id: "N34", title: "services by their names", check: fakeServices},
	{id: "N35", title: "the node's own ports", check: ownPorts},
	{id: "N39", title: "priority of sockets", check: priority},
}

// never is an endpoint like a victim's that never was.
func never(like api.Endpoint) api.Endpoint {
	node, boot, _, _ := like.Parse()
	ep, _ := api.NewEndpoint(node, boot)
	return ep
}

// sameRefusal: all of these are told what is told of an endpoint that never was.
func (c *check) sameRefusal(got []Attempt) {
	for _, a := range got {
		e, first := a.failed(), got[0].failed()
		if e == nil || e.Kind != api.NotFound {
			c.errorf("%s: flags %d, error %v; want kind %q", a.Try, a.R, e, api.NotFound)
		} else if first != nil && e.Text != first.Text {
			c.errorf("%s: %q, where one that never was gives %q", a.Try, e.Text, first.Text)
		}
	}
}

func otherEndpoint(c *check) {
	theirs := c.s.victims[1].ep
	c.sameRefusal(c.frames([]frame{dialing("never was", api.Target{Endpoint: never(theirs)}), dialing("another realm's", api.Target{Endpoint: theirs})}))
}

func forgedEndpoint(c *check) {
	good := string(c.s.victims[0].ep)
	list := []frame{dialing("never was", api.Target{Endpoint: never(api.Endpoint(good))})}
	for i := 4; i < len(good); i += 3 {
		b := []byte(good)
		if b[i]++; b[i] > 'z' {
			b[i] = 'a'
		}
		list = append(list, dialing("changed", api.Target{Endpoint: api.Endpoint(b)}))
	}
	for _, s := range []string{good[:20], good + "a", strings.ToUpper(good), "x", "ep1-", "../x", strings.Repeat("a", 20_000)} {
		list = append(list, dialing("no token", api.Target{Endpoint: api.Endpoint(s)}))
	}
	c.sameRefusal(c.frames(list))
	garbage := []frame{
		{"nothing", wire.TDial, nil}, {"a field past the end", wire.TDial, []byte{1, 255, 255, 255, 'x'}}, {"half a head", wire.TDial, []byte{1, 0}},
		{"unknown fields", wire.TDial, text(200, "x")}, {"many empty fields", wire.TDial, bytes.Repeat([]byte{1, 0, 0, 0}, 5000)},
		{"an endpoint and outside", wire.TDial, append(text(1, good), text(2, "1.1.1.1:80")...)}, {"an endpoint and a service", wire.TDial, append(text(1, good), text(4, "named")...)},
		{"no service", wire.TDial, text(4, "none")}, {"NUL service", wire.TDial, text(4, "named\x00")}, {"a node alone", wire.TDial, text(5, "n1")},
		{"accept on another's", wire.TAccept, text(1, good)}, {"close another's", wire.TCloseEndpoint, text(1, good)}, {"accept nothing", wire.TAccept, nil},
	}
	c.kinds(c.frames(garbage), api.NotFound, api.Invalid, api.TooLarge)
}

// kinds fails for every answer that is no error of one of these.
func (c *check) kinds(got []Attempt, want ...api.Kind) {
	for _, a := range got {
		if e := a.failed(); e == nil || !slices.Contains(want, e.Kind) {
			c.errorf("%s: flags %d, error %v; want one of %q", a.Try, a.R, e, want)
		}
	}
}

// outside dials addresses that are none of a tenant's.
func (c *check) outside(list ...string) {
	var f []frame
	for _, a := range list {
		f = append(f, dialing(a, api.Target{External: a}))
	}
	c.kinds(c.frames(f), api.Denied, api.Invalid, api.NotFound)
}

func provider(c *check) {
	list := []string{
		"10.1.2.3:80", "172.16.0.1:80", "172.31.9.9:80", "192.168.1.1:80", "127.0.0.1:80", "127.9.9.9:2379", "0.0.0.0:80", "0.1.2.3:80", "169.254.169.254:80",
		"100.64.0.1:80", "192.0.0.170:80", "192.0.2.1:80", "198.18.0.1:80", "224.0.0.1:80", "240.0.0.1:80", "255.255.255.255:80",
		"[::]:80", "[::1]:80", "[fc00::1]:80", "[fd00::1]:80", "[fe80::1]:80", "[fe80::1%25eth0]:80", "[fe80::1%eth0]:80", "[fec0::1]:80", "[ff02::1]:80",
		"[::ffff:127.0.0.1]:80", "[::ffff:169.254.169.254]:80", "[64:ff9b::10.0.0.1]:80", "[2002:7f00:1::]:80", "[2001:0:a00:1::fefe:fefe]:80", "[::127.0.0.1]:80",
		"0x7f000001:80", "2130706433:80", "127.1:80", "0177.0.0.1:80",
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		c.fatalf("addresses of this machine: %v", err)
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, netip.AddrPortFrom(p.Addr().WithZone(""), 22).String())
		}
	}
	c.outside(list...)
}

func resolving(c *check) {
	c.outside("localhost:80", "localhost.:80", "LOCALHOST:22", "ip6-localhost:80")
}

// ownPorts: whatever a node listens on is the provider's.
func ownPorts(c *check) {
	info, err := c.s.operator.Info(c.ctx)
	if err != nil {
		c.fatalf("%v", err)
	}
	var nodes []api.NodeInfo
	if err := c.s.operator.Call(c.ctx, api.MNodes, nil, &nodes); err != nil {
		c.fatalf("%v", err)
	}
	list := []string{"127.0.0.1:2379", "127.0.0.1:2380", "127.0.0.1:7946"}
	for _, a := range []string{info.Metrics, info.Gateway} {
		if a != "" {
			list = append(list, a)
		}
	}
	for _, n := range nodes {
		if n.Addr != "" {
			list = append(list, n.Addr)
		}
	}
	c.outside(list...)
}

// badChannel: whatever a proc does with its channel, only that one suffers.
func badChannel(c *check) {
	for _, how := range []string{"half", "slow", "pending", "garbage", "deaf"} {
		id := c.running(c.s.c, Describe("N13", how))
		c.s.beside(c, how, api.BE)
		if how == "deaf" { // it is cut off, and its memory with it
			if st := c.await(c.s.c, id, max(c.s.opt.Longer, 30*time.Second)); st.State != api.Signal && !st.OK() {
				c.errorf("the deaf one came to %v", st)
			}
			continue
		}
		if how == "garbage" {
			c.printed(c.s.c, id, "done")
		}
		c.kill(c.s.c, id, 0, 5*time.Second)
		if how == "garbage" {
			c.refused(c.said(c.s.c, id), 3, answers{"read": {0, -104}, "write": {-32, -104}, "done": {0}})
		}
	}
}

// beside holds that a proc of the other realm is served while something goes on.
func (s *Suite) beside(c *check, what string, class api.Class) {
	d := Describe("P19")
	d.Class = class
	id := c.spawn(s.other, d)
	if st := c.await(s.other, id, s.opt.Longer); !st.OK() {
		c.errorf("beside %q a %v proc of another realm came to %v", what, class, st)
	}
	c.result.Attempts++
}

// lateThread: a proc whose main thread has left is there until its last one is.
func lateThread(c *check) {
	id := c.running(c.s.c, Describe("N16"))
	time.Sleep(100 * time.Millisecond) // it leaves after Started
	w, err := c.s.c.Why(c.ctx, string(id))
	if err != nil || w.Proc.State != api.Running {
		c.errorf("with a thread left it is %v (%v)", w.Proc.State, err)
	}
	c.result.Attempts++
	c.kill(c.s.c, id, 0, 5*time.Second)
}

// badPaths walks where nothing of the realm is.
func badPaths(c *check) {
	up := make([]string, 14)
	for i := range up {
		up[i] = ".."
	}
	other := c.s.them.Name
	for _, w := range [][]string{
		append(slices.Clone(up), "etc", "passwd"), append(slices.Clone(up), other), append(slices.Clone(up), c.s.them.ID),
		{other}, {c.s.them.ID}, {"..", other, secretName}, {secretName}, {"../" + other}, {"/"}, {""}, {"."}, {"a\x00b"}, {"\xff\xfe"}, {"~local"}, {"~LOCAL"}, {"~local", ".."}, {strings.Repeat("n", 256)}, {strings.Repeat("n", 4000)},
	} {
		a := c.names(walk(0, 1, w...).arg("walk"))[0]
		if a.R != rlerror && a.reached() >= len(w) {
			c.errorf("a walk to %.60q came there", w)
		}
	}
}

// bad9P: each is an error or the end of that connection, and the next one is
// answered.
func bad9P(c *check) {
	for name, arg := range map[string]string{
		"length 0":           message(110).lie("x", 0),
		"length 6":           message(110).lie("x", 6),
		"length 2^32-1":      walk(0, 1).lie("x", 1<<32-1),
		"65535 names":        message(110).u32(0).u32(1).u16(65535).arg("x"),
		"a string too long":  message(110).u32(0).u32(1).u16(1).u16(65535).arg("x"),
		"no such fid":        walk(77, 78, "x").arg("x"),
		"fid in use":         walk(0, 0, "x").arg("x"),
		"read at 2^64-1":     message(116).u32(0).u64(1<<64 - 1).u32(1 << 31).arg("x"),
		"write to a folder":  message(118).u32(0).u64(1 << 63).u32(1).u8('x').arg("x"),
		"write without data": message(118).u32(0).u64(0).u32(1 << 30).arg("x"),
		"no such message":    message(255).arg("x"),
		"an answer":          message(111).u16(0).arg("x"),
		"open to write":      message(12).u32(0).u32(2).arg("x"),
		"attach elsewhere":   message(104).u32(5).u32(noFID).str("root").str("../" + c.s.them.Name).u32(0).arg("x"),
		"attach as root":     message(104).u32(0).u32(noFID).str("root").str("").u32(0).arg("x"),
		"msize 0":            message(100).u32(0).str("9P2000.L").arg("x"),
	} {
		a := c.names(arg)[0]
		if a.R >= 0 && a.R != rlerror {
			c.errorf("%s: answered by message %d", name, a.R)
		}
	}
	c.names()
}

// systemNames: what the system put into the realm's root is not a tenant's.
func systemNames(c *check) {
	for _, dir := range []string{"ux", "s3", "db"} {
		got := c.names(
			message(76).u32(0).str(dir).u32(0x200).arg("rmdir"),
			message(76).u32(0).str(dir).u32(0).arg("unlink"),
			message(74).u32(0).str(dir).u32(0).str("mine").arg("rename"),
			message(72).u32(0).str(dir).u32(0o777).u32(0).arg("mkdir"),
			message(16).u32(0).str(dir).str("/").u32(0).arg("symlink"),
			walk(0, 1, dir).arg("9"),
			message(14).u32(1).str("n1").u32(0o1102).u32(0o666).u32(0).arg("create below"),
		)
		for _, a := range got {
			if a.Try != "9" && a.R != rlerror {
				c.errorf("%s of /%s: message %d", a.Try, dir, a.R)
			}
		}
	}
}

// fakeServices: a proc that listens cannot be what others ask for by name.
func fakeServices(c *check) {
	var list []frame
	for _, s := range []string{"named", "ux", "s3", "db", "schedd", "besched", "lcsched", "realmd", "initd"} {
		list = append(list,
			frame{"listen as " + s, wire.TCloseEndpoint, text(1, "svc:"+s)},
			frame{"accept as " + s, wire.TAccept, text(4, s)},
			frame{"accept its link " + s, wire.TAccept, text(1, "svc:"+s+"@"+"n1")})
	}
	c.kinds(c.frames(list), api.NotFound, api.Invalid, api.Denied)
}

// otherProcs: another realm's proc, and one that never was, have one answer, and
// nothing happens to any.
func otherProcs(c *check) {
	theirs := string(c.s.victims[1].info.ID)
	guessed := theirs[:len(theirs)-12] + "aaaaaaaaaaaa"
	var told []string
	for _, id := range []string{theirs, guessed} {
		target := wire.Target{ID: id}.Encode()
		list := []frame{{"waitexit", wire.TWaitExit, target}, {"waitstart", wire.TWaitStart, target}, {"kill", wire.TKill, target}}
		for _, m := range []string{api.MWhy, api.MDump, api.MLogs} {
			list = append(list, frame{m, wire.TCall, wire.Call{Method: m, Body: []byte(`{"name":"` + id + `"}`)}.Encode()})
		}
		got := c.frames(list)
		c.kinds(got, api.NotFound, api.Denied)
		said := ""
		for _, a := range got {
			if e := a.failed(); e != nil {
				said += strings.ReplaceAll(a.Try+": "+e.Error(), id, "ID") + "\n"
			}
		}
		told = append(told, said)
	}
	if told[0] != told[1] {
		c.errorf("of another realm's proc:\n%sof none:\n%s", told[0], told[1])
	}
}

// priority: of the options of a socket, those that would move it to another class
// are not allowed; S37's conditions try all others.
func priority(c *check) {
	n := 0
	for _, a := range c.row("conditions", "setsockopt") {
		level, opt := a.Args[1], a.Args[2]
		switch {
		case level == 1 && slices.Contains([]int64{12, 36, 25, 33, 50, 52, 62}, opt), // priority, mark, device, …
			level == 0 && slices.Contains([]int64{1, 4, 18}, opt), level == 41 && slices.Contains([]int64{67, 75}, opt):
			n++
			if a.R != eperm && a.R != enosys {
				c.errorf("setsockopt%v: %d (%v)", a.Args[1:3], a.R, a.Errno())
			}
		}
	}
	if n < 10 {
		c.errorf("only %d options were tried", n)
	}
}
