package gossip

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
)

func testTable() (*table, *clock.Fake) {
	clk := clock.NewFake(time.Unix(0, 0))
	return newTable(clk, notice), clk
}

func member(name string, number uint16, boot uint32) Member {
	return Member{Name: name, Info: Info{Number: number, Boot: boot}}
}

func news(t *table, s *subscriber) string {
	var out []string
	for _, e := range t.news(s) {
		text := fmt.Sprintf("%v %s/%d", e.Type, e.Member.Name, e.Member.Boot)
		if e.Type == Conflict {
			text += fmt.Sprintf(" %s/%d", e.Other.Name, e.Other.Boot)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestNewsAreInOrderAndComplete(t *testing.T) {
	tab, _ := testTable()
	quick := &subscriber{seen: make(map[string]entry)}
	slow := &subscriber{seen: make(map[string]entry)}
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, ""},
		{func() { tab.put(member("c", 3, 1)); tab.put(member("a", 1, 1)); tab.put(member("b", 2, 1)) }, "joined c/1, joined a/1, joined b/1"},
		{func() { tab.put(member("c", 3, 1)) }, "updated c/1"},
		{func() { tab.remove("b"); tab.put(member("a", 1, 1)) }, "failed b/1, updated a/1"},
		{func() { tab.put(member("b", 2, 2)) }, "joined b/2"},
		{func() { tab.put(member("b", 2, 3)) }, "failed b/2, joined b/3"},
		{func() { tab.leaving("b", 2); tab.leaving("nobody", 1) }, ""},
		{func() { tab.leaving("b", 3); tab.leaving("b", 3) }, "updated b/3"},
		{func() { tab.put(member("b", 2, 3)) }, "updated b/3"}, // of before the goodbye, overtaken by it
		{func() { tab.remove("b"); tab.remove("b") }, "left b/3"},
		{func() { tab.leaving("a", 1); tab.remove("a"); tab.put(member("a", 1, 2)) }, "failed a/1, joined a/2"},
		{func() { tab.put(member("d", 4, 1)); tab.remove("d") }, ""},
	} {
		step.do()
		if got := news(tab, quick); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	if got, want := news(tab, slow), "joined c/1, joined a/2"; got != want {
		t.Errorf("to one who asks now: %q, want %q", got, want)
	}
	if got := news(tab, slow); got != "" {
		t.Errorf("nothing happened since: %q", got)
	}
}

func TestNumbersPassOn(t *testing.T) {
	tab, _ := testTable()
	if other := tab.put(member("a", 7, 1)); other != nil {
		t.Errorf("the first with a number meets %v", other)
	}
	for _, name := range []string{"c", "b"} {
		if other := tab.put(member(name, 7, 1)); other == nil || other.Name != "a" {
			t.Errorf("%s with the number of a meets %v", name, other)
		}
	}
	for _, want := range []string{"a", "b", "c"} {
		m, ok := tab.lookup(7)
		if !ok || m.Name != want {
			t.Errorf("lookup(7) = %s %v, want %s", m.Name, ok, want)
		}
		tab.remove(want)
	}
	if m, ok := tab.lookup(7); ok {
		t.Errorf("lookup(7) = %v when all are gone", m)
	}
	tab.put(member("a", 1, 1))
	tab.put(member("a", 2, 2)) // its number changed with a new life
	if _, ok := tab.lookup(1); ok {
		t.Error("the old number still leads somewhere")
	}
}

func TestConflictsAreToldWhenTheyLast(t *testing.T) {
	tab, clk := testTable()
	s := &subscriber{seen: make(map[string]entry)}
	mine, theirs := member("a", 1, 1), member("a", 1, 2)
	for _, step := range []struct {
		wait time.Duration
		want bool
	}{
		{0, false}, {notice, false}, {notice, true}, // it lasts
		{9 * notice, false}, {9 * notice, false}, {9 * notice, false}, {9 * notice, false}, {9 * notice, false}, {9 * notice, false},
		{9 * notice, true},   // again after a minute: the node is still there
		{11 * notice, false}, // the same place, but not for long
	} {
		clk.Advance(step.wait)
		if got := tab.conflict(mine, theirs); got != step.want {
			t.Errorf("conflict after %v more = %v, want %v", step.wait, got, step.want)
		}
	}
	if got, want := news(tab, s), "conflict a/1 a/2"; got != want {
		t.Errorf("news: %q, want %q", got, want)
	}
	elsewhere := member("a", 2, 1)
	elsewhere.Addr = netip.MustParseAddrPort("127.0.0.1:9")
	if !tab.conflict(mine, member("b", 1, 1)) || !tab.conflict(mine, elsewhere) {
		t.Error("a conflict of two nodes that cannot be one is not told at once")
	}
	for i := range 1000 {
		o := member(fmt.Sprint("x", i), 1, 1)
		tab.conflict(mine, o)
	}
	if n := len(tab.claims); n > maxClaims {
		t.Errorf("%d claims are kept", n)
	}
	if n := strings.Count(news(tab, s), "conflict"); n > maxClaims || n == 0 {
		t.Errorf("%d conflicts are told", n)
	}
}

func TestTheGoneAreBounded(t *testing.T) {
	tab, _ := testTable()
	for i := range 3 * maxGone {
		m := member(fmt.Sprint("n", i), uint16(i), 1)
		tab.put(m)
		tab.remove(m.Name)
	}
	if len(tab.gone) > maxGone || len(tab.byNumber) != 0 || len(tab.alive) != 0 {
		t.Errorf("%d gone, %d numbers, %d alive are kept", len(tab.gone), len(tab.byNumber), len(tab.alive))
	}
	if tab.gone[fmt.Sprint("n", 3*maxGone-1)] == nil {
		t.Error("the last one is forgotten first")
	}
}

func TestMembersAreCopies(t *testing.T) {
	tab, _ := testTable()
	m := member("a", 1, 1)
	m.Roles, m.Shards = []string{"x"}, []uint16{1}
	tab.put(m)
	got, _ := tab.lookup(1)
	got.Roles[0], got.Shards[0] = "changed", 9
	tab.members()[0].Roles[0] = "changed"
	if again, _ := tab.byName("a"); again.Roles[0] != "x" || again.Shards[0] != 1 {
		t.Errorf("a caller changed the table: %+v", again)
	}
}

func TestInfoLimits(t *testing.T) {
	full := Info{Number: 65535, Boot: 1<<32 - 1, Leaving: true, Domain: strings.Repeat("d", 40), Version: strings.Repeat("v", 40), Load: Load{-1, 1 << 62}}
	for i := range 12 {
		full.Roles = append(full.Roles, fmt.Sprintf("role%02d", i))
	}
	for i := range maxShards {
		full.Shards = append(full.Shards, uint16(60000+i))
	}
	b, err := full.encode()
	if err != nil || len(b) > maxInfo {
		t.Fatalf("a full info: %d bytes, %v", len(b), err)
	}
	if got, err := decodeInfo(b); err != nil || !reflect.DeepEqual(got, full) {
		t.Errorf("came back as %+v, %v", got, err)
	}
	more := append(bytes.Clone(b), 200, 1, 0, 0, 9) // a field of a newer version
	if got, err := decodeInfo(more[:len(more):len(more)]); err != nil || !reflect.DeepEqual(got, full) {
		t.Errorf("with a field of a newer version: %+v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "version 2": {2}, "cut": b[:len(b)-1], "half a shard": {1, 8, 1, 0, 0, 7}, "number of 3 bytes": {1, 1, 3, 0, 0, 1, 2, 3}, "too long": make([]byte, maxInfo+1),
		"role without name": {1, 3, 1, 0, 0, ','},
	} {
		_, err := decodeInfo(bad)
		wantKind(t, "decodeInfo, "+name, err, api.Invalid)
	}
	for name, i := range map[string]Info{"many shards": {Shards: make([]uint16, maxShards+1)}, "long": {Version: strings.Repeat("v", maxInfo)}} {
		_, err := i.encode()
		wantKind(t, "encode, "+name, err, api.TooLarge)
	}
}

func FuzzDecodeInfo(f *testing.F) {
	b, _ := Info{Number: 7, Boot: 8, Roles: []string{"a", "b"}, Domain: "d", Version: "v", Load: Load{1, 2}, Shards: []uint16{1, 2}, Leaving: true}.encode()
	f.Add(b)
	f.Add([]byte{1})
	f.Add([]byte{1, 8, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := decodeInfo(b)
		if err != nil {
			return
		}
		e, err := i.encode()
		if err != nil {
			return // fields that are written longer than they came
		}
		if again, err := decodeInfo(e); err != nil || !reflect.DeepEqual(i.clone(), again) {
			t.Fatalf("%+v came back as %+v, %v", i, again, err)
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(message{sayGoodbye, "n1", 7}.encode())
	f.Add(message{sayHeard, "n1", 7}.encode())
	f.Add([]byte{1, 1, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := decodeMessage(b); ok {
			if again, ok := decodeMessage(m.encode()); ok && again != m {
				t.Fatalf("%+v came back as %+v", m, again)
			}
		}
	})
}
