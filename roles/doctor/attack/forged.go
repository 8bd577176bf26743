package attack

import (
	"strings"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// forgedFrames are frames that no library writes: each has its error, and the
// caller is who it is.
func forgedFrames(c *check) {
	spawn := func(f ...[]byte) []byte {
		p := text(1, path)
		for _, b := range f {
			p = append(p, b...)
		}
		return p
	}
	number := func(tag uint8, v int64) []byte {
		var f wire.Fields
		f.Int(tag, v)
		return f
	}
	lc := number(4, 1)
	const nan = 0x7ff8000000000001
	bad := []frame{
		{"mcpu of BE", wire.TSpawn, spawn(number(5, 100))}, {"mcpu -1", wire.TSpawn, spawn(lc, number(5, -1))}, {"mcpu NaN", wire.TSpawn, spawn(lc, number(5, nan))},
		{"mcpu 2^63", wire.TSpawn, spawn(lc, number(5, -1<<63))}, {"memory -1", wire.TSpawn, spawn(number(6, -1))}, {"memory NaN", wire.TSpawn, spawn(number(6, nan))},
		{"memory 2^62", wire.TSpawn, spawn(number(6, 1<<62))}, {"class 2", wire.TSpawn, spawn(number(4, 2))}, {"class -1", wire.TSpawn, spawn(number(4, -1))},
		{"class 256", wire.TSpawn, spawn(number(4, 256))}, {"fds -5", wire.TSpawn, spawn(number(7, -5))}, {"fds 2^40", wire.TSpawn, spawn(number(7, 1<<40))},
		{"threads -1", wire.TSpawn, spawn(number(8, -1))}, {"NUL in path", wire.TSpawn, text(1, "/bin/a\x00b")}, {"NUL in arg", wire.TSpawn, spawn(text(2, "a\x00b"))},
		{"NUL in env", wire.TSpawn, spawn(text(3, "A=1\x00B"))}, {"env without equals", wire.TSpawn, spawn(text(3, "A"))}, {"NUL in name", wire.TSpawn, spawn(text(10, "a\x00b"))},
		{"long path", wire.TSpawn, text(1, strings.Repeat("x", 5000))}, {"long domain", wire.TSpawn, spawn(text(9, strings.Repeat("x", 65)))},
		{"a field past the end", wire.TSpawn, append(spawn(), 2, 255, 255, 0)}, {"exit with too much", wire.TExited, wire.Exit{Data: make([]byte, api.MaxData+1)}.Encode()},
		{"another realm's program", wire.TSpawn, text(1, c.s.digest)},
	}
	c.kinds(c.frames(bad), api.Invalid, api.TooLarge, api.NotFound)
	operators := []frame{
		{"enter a realm", wire.TRealm, wire.Target{ID: c.s.them.Name}.Encode()}, {"a token", wire.TAuth, text(1, "x")}, {"type 200", 200, nil},
	}
	for method, body := range map[string]string{
		api.MRealmCreate: `{"name":"evil"}`, api.MRealmRemove: `{"name":"` + c.s.them.Name + `"}`, api.MRealmList: "", api.MRealmToken: `{"realm":"` + c.s.them.Name + `"}`, api.MClusterTok: "",
		api.MNodes: "", api.MNodeRemove: `{"name":"n1"}`, api.MNodeDrain: `{"name":"n1"}`, api.MRotate: `{}`, api.MEtcdPeers: "", api.MProbe: `{}`, api.MProcs: `{"realms":true}`, "x": "",
	} {
		operators = append(operators, frame{method, wire.TCall, wire.Call{Method: method, Body: []byte(body)}.Encode()})
	}
	c.kinds(c.frames(operators), api.Denied, api.Invalid, api.Unsupported, api.NotFound)
	c.forgedParent()
}

// forgedParent: fields that say who asks do not exist; what is unknown is skipped,
// and the child is the caller's.
func (c *check) forgedParent() {
	p := text(1, path)
	p = append(p, text(2, "P19")...)
	for tag := uint8(100); tag < 164; tag++ {
		p = append(p, text(tag, "root")...)
	}
	a := c.frames([]frame{{"spawn as root", wire.TSpawn, p}})[0]
	if e := a.failed(); e != nil || a.R < 0 {
		c.errorf("a spawn with unknown fields: %d, %v", a.R, e)
		return
	}
	t, err := wire.DecodeTarget(a.payload())
	if err != nil {
		c.fatalf("a spawn's answer: %v", err)
	}
	w, err := c.s.c.Why(c.ctx, t.ID)
	if err != nil || w.Proc.User != "" || w.Proc.Realm != c.s.mine.Name && w.Proc.Realm != c.s.mine.ID {
		c.errorf("the child's realm is %q, its user %q (%v)", w.Proc.Realm, w.Proc.User, err)
	}
	c.await(c.s.c, api.ProcID(t.ID), c.s.opt.Longer)
}
