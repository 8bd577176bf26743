package main

import (
	"context"
	"fmt"
	"strings"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/sigma"
)

// forged are frames that a library would never write. Each answer's kind is
// printed behind its name.
func forged(ctx context.Context, program string) {
	spawn := func(fn func(f *wire.Fields)) []byte {
		var f wire.Fields
		f.String(1, program)
		fn(&f)
		return f
	}
	number := func(tag uint8, v int64) []byte {
		return spawn(func(f *wire.Fields) { f.Int(tag, v) })
	}
	lc := func(v int64) []byte {
		return spawn(func(f *wire.Fields) { f.Int(4, 1); f.Int(5, v) })
	}
	text := func(tag uint8, s string) []byte {
		return spawn(func(f *wire.Fields) { f.String(tag, s) })
	}
	const nan = 0x7ff8000000000001
	for _, t := range []struct {
		name    string
		kind    wire.Type
		payload []byte
	}{
		{"mcpu of BE", wire.TSpawn, number(5, 100)},
		{"mcpu -1", wire.TSpawn, lc(-1)},
		{"mcpu NaN", wire.TSpawn, lc(nan)},
		{"mcpu 2^63", wire.TSpawn, lc(-1 << 63)},
		{"memory -1", wire.TSpawn, number(6, -1)},
		{"memory NaN", wire.TSpawn, number(6, nan)},
		{"memory 2^62", wire.TSpawn, number(6, 1<<62)},
		{"class 2", wire.TSpawn, number(4, 2)},
		{"class -1", wire.TSpawn, number(4, -1)},
		{"class 256", wire.TSpawn, number(4, 256)},
		{"fds -5", wire.TSpawn, number(7, -5)},
		{"fds 2^40", wire.TSpawn, number(7, 1<<40)},
		{"threads -1", wire.TSpawn, number(8, -1)},
		{"NUL in path", wire.TSpawn, text(1, "/bin/a\x00b")},
		{"NUL in arg", wire.TSpawn, text(2, "a\x00b")},
		{"NUL in env", wire.TSpawn, text(3, "A=1\x00B")},
		{"NUL in name", wire.TSpawn, text(10, "a\x00b")},
		{"env without =", wire.TSpawn, text(3, "A")},
		{"long path", wire.TSpawn, text(1, strings.Repeat("x", 5000))},
		{"long args", wire.TSpawn, text(2, strings.Repeat("x", 200<<10))},
		{"long domain", wire.TSpawn, text(9, strings.Repeat("x", 65))},
		{"short number", wire.TSpawn, spawn(func(f *wire.Fields) { f.Bytes(6, []byte{1, 2, 3, 4}) })},
		{"field past the end", wire.TSpawn, append(number(6, 1<<20), 2, 255, 255, 0)},
		{"realm", wire.TRealm, wire.Target{ID: "other"}.Encode()},
		{"call realm.create", wire.TCall, wire.Call{Method: api.MRealmCreate, Body: []byte(`{"name":"evil"}`)}.Encode()},
		{"call realm.rm", wire.TCall, wire.Call{Method: api.MRealmRemove, Body: []byte(`{"name":"other"}`)}.Encode()},
		{"call proc.ls", wire.TCall, wire.Call{Method: api.MProcs, Body: []byte(`{"realms":true}`)}.Encode()},
		{"call nothing", wire.TCall, wire.Call{Method: "x"}.Encode()},
		{"call nonsense", wire.TCall, wire.Call{Method: api.MWhy, Body: []byte(`[`)}.Encode()},
		{"type 200", 200, nil},
		{"exit with too much", wire.TExited, wire.Exit{Data: make([]byte, api.MaxData+1)}.Encode()},
	} {
		err := sigma.Self().Stream(ctx, t.kind, t.payload, func([]byte) error { return nil })
		fmt.Printf("%s: %s\n", t.name, api.KindOf(err))
	}
	// Fields that say who asks do not exist; what is unknown is skipped.
	err := sigma.Self().Stream(ctx, wire.TSpawn, spawn(func(f *wire.Fields) {
		for tag := uint8(100); tag < 164; tag++ {
			f.String(tag, "root")
		}
	}), func(p []byte) error {
		t, err := wire.DecodeTarget(p)
		fmt.Println("child:", t.ID)
		return err
	})
	fail(err)
}

// meddle tries everything on a proc that is not ours.
func meddle(ctx context.Context, id api.ProcID) {
	_, err := sigma.WaitExit(ctx, id)
	fmt.Println("waitexit:", err)
	fmt.Println("waitstart:", sigma.WaitStart(ctx, id))
	fmt.Println("kill:", sigma.Kill(ctx, id, 0))
	for _, m := range []string{api.MWhy, api.MDump, api.MLogs} {
		body := []byte(fmt.Sprintf(`{"name":%q}`, id))
		err := sigma.Self().Stream(ctx, wire.TCall, wire.Call{Method: m, Body: body}.Encode(), func([]byte) error { return nil })
		fmt.Println(m+":", err)
	}
}
