package resolve

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// naive resolves one name at a time and begins at the realm's root after every
// symbolic link, which is slow and obviously right.
func (w *world) naive(path string) (at string, links int, kind api.Kind) {
	for {
		names, _, err := Clean(path)
		if err != nil {
			return "", links, api.KindOf(err)
		}
		next := ""
		at, next, links, kind = w.pass(names, links)
		if next == "" || links > 500 {
			return at, links, kind
		}
		path = next
	}
}

// pass walks names until the end or a symbolic link; next is the path with the
// link's target in its place.
func (w *world) pass(names []string, links int) (at, next string, n int, kind api.Kind) {
	s := w.servers["root"]
	here := s.root
	var inside []string // names walked at s
	for i, name := range names {
		if here.mode != tree.ModeDir {
			return "", "", links, api.NotDir
		}
		if name == Local {
			name = here.localEntry()
		}
		if here = here.kids[name]; here == nil {
			return "", "", links, api.NotFound
		}
		names[i] = name
		inside = append(inside, name)
		switch here.mode {
		case tree.ModeSymlink:
			from := Join(names[:i])
			if strings.HasPrefix(here.target, "/") {
				from = ""
			}
			return "", from + "/" + here.target + "/./" + strings.Join(names[i+1:], "/"), links + 1, ""
		case tree.ModeEndpoint:
			if s = w.servers[here.target]; s == nil {
				return "", "", links, api.Unavailable
			}
			links++
			here, inside = s.root, nil
		}
	}
	return s.name + " " + Join(inside), "", links, ""
}

func (n *node) localEntry() string {
	for name, k := range n.kids {
		if k.mode == tree.ModeEndpoint && strings.HasSuffix(k.target, "@n1") {
			return name
		}
	}
	return "\x00"
}

// Any path in any realm of links, dots and servers leads where the naive
// resolution leads, and never anywhere else.
func TestAgainstTheNaiveResolution(t *testing.T) {
	names := []string{"a", "b", "c"}
	piece := rapid.SampledFrom([]string{"a", "b", "c", "a", "b", "c", "..", ".", "", "~local"})
	path := rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(piece, 1, 8).Draw(t, "names"), "/")
	})
	rapid.Check(t, func(t *rapid.T) {
		w := &world{servers: make(map[string]*server), noStat: rapid.Bool().Draw(t, "no stat")}
		servers := []string{"root", "s@n1", "t@n2"}
		for _, s := range servers {
			w.server(s)
		}
		for _, s := range servers {
			fill(t, w.server(s).root, names, servers, path, 3)
		}
		for range 5 {
			p := path.Draw(t, "path")
			want, links, kind := w.naive(p)
			got, err := w.get(p)
			switch {
			case links > MaxLinks/4:
				// Beginning anew counts endpoint links again: near the limit the two
				// may differ, but both must end.
			case api.KindOf(err) != kind || got != want:
				t.Fatalf("%s leads to %q (%v), by the naive resolution to %q (%q); asked %q", p, got, err, want, kind, w.asked)
			}
		}
	})
}

// fill puts things into a directory: at most one endpoint link of node n1, so
// that ~local means one.
func fill(t *rapid.T, at *node, names, servers []string, path *rapid.Generator[string], depth int) {
	local := false
	for _, name := range names {
		n := &node{}
		switch k := rapid.IntRange(0, 9).Draw(t, "kind"); {
		case k < 4 && depth > 0:
			n.mode, n.kids = tree.ModeDir, make(map[string]*node)
			fill(t, n, names, servers, path, depth-1)
		case k < 6:
			n.mode = tree.ModeFile
		case k < 8:
			n.mode, n.target = tree.ModeSymlink, path.Draw(t, "target")
			if rapid.Bool().Draw(t, "relative") {
				n.target = strings.TrimLeft(n.target, "/")
			}
			if n.target == "" {
				n.target = "."
			}
		case k < 9:
			n.mode, n.target = tree.ModeEndpoint, rapid.SampledFrom(servers).Draw(t, "server")
			if strings.HasSuffix(n.target, "@n1") {
				if local {
					continue
				}
				local = true
			}
		default:
			continue
		}
		at.kids[name] = n
	}
}

func ExampleResolver_Do() {
	w := realm("root:/ux/n1 => ux@n1", "ux@n1:/data -> results/today", "ux@n1:/results/today/part-0")
	at, err := w.get("/ux/~local/data/part-0")
	fmt.Println(at, err)
	for _, q := range w.asked {
		fmt.Println(q)
	}
	// Output:
	// ux@n1 /results/today/part-0 <nil>
	// root stat /ux/n1
	// dial ux@n1
	// ux@n1 get /data/part-0
	// ux@n1 get /results/today/part-0
}
