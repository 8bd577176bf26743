package resolve

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func sample() *world {
	return realm(
		"root:/f",
		"root:/d/sub/f",
		"root:/abs -> /d/sub",
		"root:/d/rel -> sub/f",
		"root:/d/up -> ../f",
		"root:/d/out -> ../../../../f",
		"root:/d/dots -> ./sub/../sub/./f",
		"root:/toabs -> /d/rel",
		"root:/dangling -> /none",
		"root:/empty -> ",
		"root:/bad -> a\x00b",
		"root:/one -> /two",
		"root:/two -> one",
		"root:/self -> self/x",
		"root:/svc => svc@n2",
		"root:/gone => nowhere",
		"svc@n2:/f",
		"svc@n2:/d/f",
		"svc@n2:/here -> d/f",
		"svc@n2:/back -> ../d/sub/f",
		"svc@n2:/root -> /f",
		"svc@n2:/home -> /svc/d/f",
		"svc@n2:/away -> /again",
		"root:/again -> /svc/f",
		"svc@n2:/deeper => more@n1",
		"more@n1:/f",
		"more@n1:/up -> ../f",
		"more@n1:/circle => root",
		"root:/scratch -> /ux/~local/dir",
		"root:/ux/n1 => ux@n1",
		"root:/ux/n2 => ux@n2",
		"root:/ux/README",
		"ux@n1:/dir/f",
		"ux@n2:/dir/f",
	)
}

func TestLinks(t *testing.T) {
	w := sample()
	for path, want := range map[string]string{
		"/":               "root /",
		"/f":              "root /f",
		"/d/sub/f":        "root /d/sub/f",
		"/abs":            "root /d/sub",
		"/abs/f":          "root /d/sub/f",
		"/d/rel":          "root /d/sub/f",
		"/d/up":           "root /f",
		"/d/out":          "root /f",
		"/d/dots":         "root /d/sub/f",
		"/toabs":          "root /d/sub/f",
		"/svc":            "svc@n2 /",
		"/svc/":           "svc@n2 /",
		"/svc/d/f":        "svc@n2 /d/f",
		"/svc/here":       "svc@n2 /d/f",
		"/svc/back":       "root /d/sub/f",
		"/svc/root":       "root /f",
		"/svc/home":       "svc@n2 /d/f",
		"/svc/away":       "svc@n2 /f",
		"/svc/deeper/f":   "more@n1 /f",
		"/svc/deeper/up":  "svc@n2 /f",
		"/svc/../f":       "root /f",
		"/abs/../f":       "root /f", // dots first, then links
		"/ux/n2/dir/f":    "ux@n2 /dir/f",
		"/scratch/f":      "ux@n1 /dir/f",
		"/ux/~local":      "ux@n1 /",
		"/ux/~local/":     "ux@n1 /",
		"/ux/~local/none": "",
	} {
		if want != "" {
			leads(t, w, path, want)
		}
	}
	fails(t, w, "/none", api.NotFound)
	fails(t, w, "/f/x", api.NotDir)
	fails(t, w, "/dangling", api.NotFound)
	fails(t, w, "/empty", api.NotFound, "empty")
	fails(t, w, "/bad", api.Invalid, "the link /bad leads nowhere", "NUL")
	fails(t, w, "/gone/f", api.Unavailable)
	fails(t, w, "/svc/none", api.NotFound)
	if got, err := w.lget("/dangling"); err != nil || got != "root /dangling" {
		t.Errorf("an operation on the link itself is done at %q, %v", got, err)
	}
}

// A path without links costs one round trip, and each link one more.
func TestRoundTrips(t *testing.T) {
	w := sample()
	for path, want := range map[string][]string{
		"/d/sub/f":         {"root get /d/sub/f"},
		"/d/rel":           {"root get /d/rel", "root get /d/sub/f"},
		"/svc/d/f":         {"root get /svc/d/f", "dial svc@n2", "svc@n2 get /d/f"},
		"/svc/home":        {"root get /svc/home", "dial svc@n2", "svc@n2 get /home", "svc@n2 get /d/f"},
		"/svc/back":        {"root get /svc/back", "dial svc@n2", "svc@n2 get /back", "root get /d/sub/f"},
		"/ux/~local/dir/f": {"root stat /ux/n1", "dial ux@n1", "ux@n1 get /dir/f"},
	} {
		if _, err := w.get(path); err != nil || !slices.Equal(w.asked, want) {
			t.Errorf("%s asks %q, %v, want %q", path, w.asked, err, want)
		}
	}
}

func TestPROBES_N23_Loops(t *testing.T) {
	w := sample()
	for _, p := range []string{"/one", "/one/x", "/two", "/self", "/svc/deeper/circle/svc/deeper/circle" + strings.Repeat("/svc/deeper/circle", 20)} {
		fails(t, w, p, api.Loop, "32")
	}
	leads(t, w, strings.Repeat("/svc/deeper/circle", 10)+"/f", "root /f") // 30 links

	chain := func(n int) *world {
		lines := []string{"root:/0"}
		for i := range n {
			lines = append(lines, fmt.Sprintf("root:/%d -> %d", i+1, i))
		}
		return realm(lines...)
	}
	leads(t, chain(100), "/32", "root /0")
	fails(t, chain(100), "/33", api.Loop)
	fails(t, chain(100), "/100", api.Loop)
	// A link that grows with each step is stopped by its length or its number.
	fails(t, realm("root:/l -> /l/"+strings.Repeat("x/", 900)), "/l", api.TooLarge)
}

func TestPROBES_N21_Unions(t *testing.T) {
	w := realm(
		"root:/ux/n1 => ux@n1", "root:/ux/n2 => ux@n2", "ux@n1:/dir/f", "ux@n2:/dir/f", "ux@n1:/~local", "root:/ux/file",
		"root:/s3/b-second => s3b@n1", "root:/s3/a-first => s3a@n2", "root:/s3/sub/x", "s3b@n1:/k", "s3a@n2:/k",
		"root:/far/x => far@n2", "far@n2:/nested/in => deep@n1", "deep@n1:/f", "far@n2:/f",
		"root:/none/f", "root:/~local", "root:/~LOCAL", "root:/ux/n1x",
		"root:/link -> /ux", "root:/viaany -> /far/~any/nested", "root:/here -> ~local/x", "root:/top => top@n1", "top@n1:/x",
		"root:/wrong/n1 => other@n2", "root:/wrong/z => right@n1", "right@n1:/f",
		"root:/mine/n1/f", "root:/mine/z => mine@n1", "mine@n1:/f",
	)
	for path, want := range map[string]string{
		"/ux/~local/dir/f":               "ux@n1 /dir/f",
		"/s3/~local/k":                   "s3b@n1 /k",
		"/s3/~any/k":                     "s3b@n1 /k", // the local one is preferred
		"/far/~any/f":                    "far@n2 /f",
		"/link/~local/dir/f":             "ux@n1 /dir/f",
		"/far/~any/nested/~local/f":      "deep@n1 /f", // below the server that the first led to
		"/viaany/~local/f":               "deep@n1 /f",
		"/ux/~local/../file":             "root /ux/file",
		"/ux/~local/../~local/dir/f":     "ux@n1 /dir/f",
		"/~local/x":                      "top@n1 /x",
		"/here":                          "top@n1 /x",
		"/~LOCAL":                        "root /~LOCAL", // a name like others
		"/ux/n1x":                        "root /ux/n1x",
		"/wrong/~local/f":                "right@n1 /f", // the name alone makes no server local
		"/mine/~local/f":                 "mine@n1 /f",
		"/ux/./~local//dir/../dir/./f":   "ux@n1 /dir/f",
		"/ux/~local/dir/../../../none/f": "root /none/f",
	} {
		for _, noStat := range []bool{false, true} {
			w.noStat = noStat
			leads(t, w, path, want)
		}
	}
	for _, c := range []struct {
		path string
		kind api.Kind
		says string
	}{
		{"/far/~local/f", api.NotFound, "no server of /far is on this node"},
		{"/none/~local", api.NotFound, "no server of /none is on this node"},
		{"/none/~any/f", api.NotFound, "no endpoint link"},
		{"/absent/~any/f", api.NotFound, ""},
		{"/ux/~local/~local/f", api.NotFound, "no server of /ux/n1 is on this node"},
		{"/ux/file/~local", api.NotDir, ""},
		{"/ux/~Local/dir", api.NotFound, ""},
		{"/ux/~localhost/dir", api.NotFound, ""},
		{"/ux/ ~local/dir", api.NotFound, ""},
	} {
		fails(t, w, c.path, c.kind, c.says)
	}
	// As the name of an entry it names a server's root: nothing is made there.
	if got, err := w.lget("/ux/~local"); err != nil || got != "ux@n1 /" {
		t.Errorf("an operation on the entry /ux/~local is done at %q, %v, want the server's root", got, err)
	}
}

// ~any takes the local server if that answers, another if not, and never waits
// for a dead one longer than it has patience.
func TestPROBES_N24_AnySkipsTheDead(t *testing.T) {
	lines := []string{"root:/s3/local => s@n1", "s@n1:/k"}
	for i := range 6 {
		lines = append(lines, fmt.Sprintf("root:/s3/s%d => s%d@n2", i, i), fmt.Sprintf("s%d@n2:/k", i))
	}
	w := realm(lines...)
	seen := make(map[string]bool)
	for range 40 {
		leads(t, w, "/s3/~any/k", "s@n1 /k")
	}
	w.servers["s@n1"].dead = true
	for i := range 6 {
		w.servers[fmt.Sprintf("s%d@n2", i)].dead = i%3 == 0
		w.servers[fmt.Sprintf("s%d@n2", i)].down = i%3 == 1
	}
	for range 20 {
		got, err := w.get("/s3/~any/k")
		if err != nil {
			t.Fatalf("with two of seven servers alive: %v", err)
		}
		seen[got] = true
	}
	if len(seen) != 2 || !seen["s2@n2 /k"] || !seen["s5@n2 /k"] {
		t.Errorf("~any led to %v, want the two that live, each sometimes", seen)
	}
	w.servers["s2@n2"].dead, w.servers["s5@n2"].down = true, true
	fails(t, w, "/s3/~any/k", api.Unavailable, "none of 7 servers of /s3 answers")
	fails(t, w, "/s3/~local/k", api.Unavailable) // ~local takes no other
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.resolver().Do(ctx, "/s3/~any/k", nil); err == nil {
		t.Error("a cancelled caller gets a server")
	}
}

// Who dials a link is given those that the last ~local or ~any may stand for, the near
// one first; none of them is dialled to find that out.
func TestEndsOfAPath(t *testing.T) {
	w := realm("root:/svc/far => a@n2", "root:/svc/near => b@n1", "root:/svc/other => c@n3", "root:/svc/file", "root:/l -> /svc/~any",
		"root:/in/x => deep@n1", "deep@n1:/pub/one => d@n2", "root:/lone/x => e@n2", "root:/none/file")
	for path, want := range map[string]struct {
		first string
		n     int
	}{
		"/svc/~any": {"near", 3}, "/svc/~local": {"near", 1}, "/l": {"near", 3}, "/in/~any/pub/~any": {"one", 1}, "/lone/~any/": {"x", 1}, "/svc/far": {"", 0},
	} {
		for _, noStat := range []bool{false, true} {
			w.noStat, w.asked = noStat, nil
			done := false
			list, _, err := w.resolver().Ends(context.Background(), path, func(ctx context.Context, s *server, names []string) (*Stop, error) {
				a, stop, err := s.walk(ctx, "stat", names, false)
				if err == nil && stop == nil && a.Mode&tree.ModeType == tree.ModeSymlink {
					return &Stop{Names: len(names), Link: a}, nil
				}
				done = stop == nil && err == nil
				return stop, err
			})
			if err != nil || len(list) != want.n || want.n > 0 && list[0].Name != want.first || done != (want.n == 0) {
				t.Errorf("the ends of %s are %v, %v; want %d, and %q first", path, list, err, want.n, want.first)
			}
			for _, q := range w.asked {
				if strings.HasPrefix(q, "dial ") && q != "dial deep@n1" {
					t.Errorf("of %s: %s", path, q)
				}
			}
		}
	}
	for path, kind := range map[string]api.Kind{"/lone/~local": api.NotFound, "/none/~any": api.NotFound, "/nowhere/~any": api.NotFound, "x": api.Invalid} {
		if list, _, err := w.resolver().Ends(context.Background(), path, nil); api.KindOf(err) != kind || list != nil {
			t.Errorf("the ends of %s are %v, %v; want kind %q", path, list, err, kind)
		}
	}
}

// A union has many servers; not all are tried.
func TestManyDeadServers(t *testing.T) {
	var lines []string
	for i := range 100 {
		lines = append(lines, fmt.Sprintf("root:/s/%d => nowhere", i))
	}
	w := realm(lines...)
	fails(t, w, "/s/~any/f", api.Unavailable, "none of 16")
	if len(w.asked) != 17 {
		t.Errorf("%d questions were asked, want 17", len(w.asked))
	}
}

func TestAbs(t *testing.T) {
	w := sample()
	for path, want := range map[string]string{
		"/ux/~local/a/b":        "/ux/n1/a/b",
		"/ux/~local":            "/ux/n1",
		"/ux/~any/a":            "/ux/n1/a",
		"//ux/./~local/../n2/f": "/ux/n2/f",
		"/scratch/f":            "/scratch/f", // other links stay
		"/none/at/all":          "/none/at/all",
	} {
		for _, noStat := range []bool{false, true} {
			w.noStat = noStat
			got, err := w.resolver().Abs(context.Background(), path)
			if err != nil || got != want {
				t.Errorf("Abs(%q) = %q, %v, want %q", path, got, err, want)
			}
		}
	}
	w = realm("root:/far/x => far@n2", "far@n2:/nested/in => deep@n1", "root:/l -> /far/~any/nested", "root:/u/n1 => gone@n1")
	w.servers["gone@n1"].down = true
	for path, want := range map[string]string{
		"/far/~any/nested/~local/f": "/far/x/nested/in/f",
		"/l/~local/f":               "/l/in/f",
		"/u/~local/f":               "/u/n1/f", // its name does not depend on whether it answers
	} {
		if got, err := w.resolver().Abs(context.Background(), path); err != nil || got != want {
			t.Errorf("Abs(%q) = %q, %v, want %q", path, got, err, want)
		}
	}
	for path, kind := range map[string]api.Kind{"x": api.Invalid, "/far/~local": api.NotFound, "/none/~any/x": api.NotFound} {
		if got, err := w.resolver().Abs(context.Background(), path); api.KindOf(err) != kind {
			t.Errorf("Abs(%q) = %q, %v, want kind %q", path, got, err, kind)
		}
	}
	w = sample()
	if _, err := w.resolver().Abs(context.Background(), "/d/f"); err != nil || len(w.asked) > 0 {
		t.Errorf("Abs of a path without ~local asks %q, %v", w.asked, err)
	}
}

// What a hostile server says is checked, and none holds a caller up.
func TestHostileServers(t *testing.T) {
	link := func(mode uint32, target string) tree.Attr { return tree.Attr{Mode: mode, Target: target} }
	type says = func(names []string) (tree.Attr, []Entry, *Stop, error)
	stop := func(n int, a tree.Attr) says {
		return func([]string) (tree.Attr, []Entry, *Stop, error) { return tree.Attr{}, nil, &Stop{n, a}, nil }
	}
	entries := func(list ...Entry) says {
		return func(names []string) (tree.Attr, []Entry, *Stop, error) {
			if len(names) == 2 { // a Stat of the node's own entry
				return tree.Attr{Mode: tree.ModeDir}, nil, nil, nil
			}
			return tree.Attr{}, list, nil, nil
		}
	}
	ep := link(tree.ModeEndpoint, "evil@n1")
	for _, c := range []struct {
		name, path string
		says       says
		kind       api.Kind
		text       string
	}{
		{"a link behind the end", "/evil/a", stop(5, link(tree.ModeSymlink, "/x")), api.Unavailable, "5 of 1 names"},
		{"a link before the beginning", "/evil/a", stop(0, link(tree.ModeSymlink, "/x")), api.Unavailable, "0 of 1 names"},
		{"a link below zero", "/evil/a", stop(-1, ep), api.Unavailable, "-1 of 1 names"},
		{"a link of another type", "/evil/a", stop(1, link(tree.ModeDir, "")), api.Unavailable, "no link"},
		{"a link to itself for ever", "/evil/a", stop(1, link(tree.ModeSymlink, "a")), api.Loop, ""},
		{"an endpoint to itself for ever", "/evil/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a", stop(1, ep), api.Loop, ""},
		{"a target of 17 KiB", "/evil/a", stop(1, link(tree.ModeSymlink, strings.Repeat("/x", 9000))), api.TooLarge, "leads nowhere"},
		{"a target that is not UTF-8", "/evil/a", stop(1, link(tree.ModeSymlink, "/\xff")), api.Invalid, "leads nowhere"},
		{"a union's link behind ~local", "/evil/d/~local/x", stop(3, ep), api.Unavailable, "3 of 1 names"},
		{"a union that is a link for ever", "/evil/d/~any/x", stop(1, link(tree.ModeSymlink, "d")), api.Loop, ""},
		{"a union of names that are paths", "/evil/d/~local/x", entries(Entry{"..", ep}, Entry{"a/b", ep}, Entry{"", ep}, Entry{"~local", ep}, Entry{strings.Repeat("x", 300), ep}), api.NotFound, "no server"},
		{"a union of files", "/evil/d/~any/x", entries(Entry{"a", link(tree.ModeFile, "x")}, Entry{"b", link(tree.ModeSymlink, "/")}), api.NotFound, "no endpoint link"},
	} {
		w := realm("root:/evil => evil@n1")
		w.servers["evil@n1"].answer = c.says
		got, err := w.get(c.path)
		if api.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %q, kind %q (%.300v), want %q and %q", c.name, got, api.KindOf(err), err, c.kind, c.text)
		}
		if len(w.asked) > 2*MaxLinks+4 {
			t.Errorf("%s: %d questions were asked", c.name, len(w.asked))
		}
	}
	w := realm("root:/slow => slow@n2", "root:/down => down@n2", "root:/u/n1 => slow@n1", "slow@n2:/u/x => y@n1")
	w.servers["slow@n2"].dead, w.servers["slow@n1"].dead, w.servers["down@n2"].down = true, true, true
	fails(t, w, "/down/f", api.Unavailable, "did not answer within 50ms")
	fails(t, w, "/slow/u/~any/f", api.Unavailable, "did not answer within 50ms")
	fails(t, w, "/slow/u/~local/f", api.Unavailable, "did not answer within 50ms")
}

// Waiting ends with the caller's own ctx, whatever time a server has.
func TestCallersContextEndsIt(t *testing.T) {
	w := realm("root:/down => down@n2")
	w.servers["down@n2"].down = true
	r := w.resolver()
	r.cfg.Timeout = time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := r.Do(ctx, "/down/f", func(ctx context.Context, s *server, names []string) (*Stop, error) {
		_, stop, err := s.walk(ctx, "get", names, true)
		return stop, err
	})
	if err != context.DeadlineExceeded {
		t.Errorf("Do: %v, want the error of its ctx", err)
	}
}

func TestDefaults(t *testing.T) {
	r := New(Config[*server]{})
	if r.cfg.Patience != 2*time.Second || r.cfg.Timeout != 10*time.Second || r.cfg.Here(tree.Attr{}) || r.cfg.Node() != "" {
		t.Errorf("the defaults are %v, %v", r.cfg.Patience, r.cfg.Timeout)
	}
}
