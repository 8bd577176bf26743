package resolve

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func TestPROBES_N21_Clean(t *testing.T) {
	for _, c := range []struct {
		path, want string
		dir        bool
	}{
		{"/", "/", true},
		{"//", "/", true},
		{"/..", "/", true},
		{"/../otherrealm", "/otherrealm", false},
		{"/../../../../etc/passwd", "/etc/passwd", false},
		{"/a//b", "/a/b", false},
		{"///a///b///", "/a/b", true},
		{"/a/.", "/a", true},
		{"/./a/./b", "/a/b", false},
		{"/a/..", "/", true},
		{"/a/b/../c", "/a/c", false},
		{"/a/b/../../../c/", "/c", true},
		{"/...", "/...", false},
		{"/a/..b/b..", "/a/..b/b..", false},
		{"/%2e%2e/%2f", "/%2e%2e/%2f", false},
		{`/a\..\b`, `/a\..\b`, false},
		{"/ü/😀", "/ü/😀", false},
		{"/ux/~local/..", "/ux", true},
		{"/ux/~local/../x", "/ux/x", false},
		{"/~LOCAL/~localhost/x~local", "/~LOCAL/~localhost/x~local", false},
	} {
		names, dir, err := Clean(c.path)
		if err != nil || Join(names) != c.want || dir != c.dir {
			t.Errorf("Clean(%q) = %q, dir %v, %v, want %q, dir %v", c.path, Join(names), dir, err, c.want, c.dir)
		}
	}
}

func TestPROBES_N21_CleanRefuses(t *testing.T) {
	for _, c := range []struct {
		name, path string
		kind       api.Kind
		says       string
	}{
		{"nothing", "", api.Invalid, "begins with /"},
		{"relative", "a/b", api.Invalid, "begins with /"},
		{"dots alone", "..", api.Invalid, "begins with /"},
		{"~local alone", "~local/a", api.Invalid, "begins with /"},
		{"NUL", "/a\x00b", api.Invalid, "NUL"},
		{"not UTF-8", "/a/\xff\xfe", api.Invalid, "UTF-8"},
		{"64 KB", "/" + strings.Repeat("x/", 32<<10), api.TooLarge, "65537 bytes"},
		{"64 KB of nothing", strings.Repeat("/", 64<<10), api.TooLarge, "65536 bytes"},
		{"10,000 names", strings.Repeat("/x", 8000), api.TooLarge, "8000 names"},
		{"a name of 256 bytes", "/" + strings.Repeat("n", 256) + "/x", api.TooLarge, "256 bytes"},
		{"the same, taken back", "/" + strings.Repeat("n", 256) + "/../x", api.TooLarge, "256 bytes"},
	} {
		_, _, err := Clean(c.path)
		if api.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Clean gives kind %q (%.200v), want %q and %q", c.name, api.KindOf(err), err, c.kind, c.says)
		}
		if err != nil && (len(err.Error()) > 400 || !utf8.ValidString(err.Error()) || strings.ContainsRune(err.Error(), 0)) {
			t.Errorf("%s: the error is not fit to be shown: %q", c.name, err)
		}
	}
}

// checkClean holds Clean to what it promises of any text.
func checkClean(t rapid.TB, path string) {
	names, dir, err := Clean(path)
	if err != nil {
		if k := api.KindOf(err); k != api.Invalid && k != api.TooLarge {
			t.Errorf("Clean(%q): kind %q", path, k)
		}
		return
	}
	for _, n := range names {
		if err := tree.CheckName("", n); err != nil {
			t.Errorf("Clean(%q) has the name %q: %v", path, n, err)
		}
	}
	again, _, err := Clean(Join(names))
	if err != nil || !slices.Equal(again, names) {
		t.Errorf("Clean(%q) = %q, cleaned again %q, %v", path, names, again, err)
	}
	if len(Join(names)) > len(path) {
		t.Errorf("Clean(%q) = %q is longer", path, names)
	}
	if _, same, err := Clean(path + "/"); len(path) < tree.MaxPath && (err != nil || !same || dir && !slices.Equal(again, names)) {
		t.Errorf("Clean(%q + /): dir %v, %v", path, same, err)
	}
}

func FuzzClean(f *testing.F) {
	for _, p := range []string{
		"/", "/a/b", "/../..", "//a/./b/../c/", "/ux/~local/a", "/~any/..", "/a\x00", "/\xff", strings.Repeat("/a", 3000), "/" + strings.Repeat("n", 300),
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) { checkClean(t, path) })
}

func TestCleanOfAnything(t *testing.T) {
	piece := rapid.SampledFrom([]string{"/", "/", "/", ".", "..", "a", "b", "~local", "~any", "\x00", "\xff", "ü", strings.Repeat("n", 255), strings.Repeat("n", 256)})
	rapid.Check(t, func(t *rapid.T) {
		checkClean(t, "/"+strings.Join(rapid.SliceOfN(piece, 0, 40).Draw(t, "pieces"), ""))
	})
}
