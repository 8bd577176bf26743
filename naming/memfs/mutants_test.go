package memfs

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// mutants are trees with one fault each, and the test of the suite that must
// find it.
var mutants = map[string]struct {
	finds string
	file  func(f *mutant)
}{
	"exclusive create of what is there": {"Create", func(m *mutant) { m.loose = true }},
	"condition on the version not held": {"PutIf", func(m *mutant) { m.unconditional = true }},
	"lost compare and set":              {"CompareAndSetRace", func(m *mutant) { m.unconditional = true }},
	"write sent twice, done twice":      {"PutNoReplay", func(m *mutant) { m.replay = true }},
	"put in two steps":                  {"PutIsWhole", func(m *mutant) { m.torn = true }},
	"everybody is an operator":          {"Owners", func(m *mutant) { m.operator = true }},
	"entries out of order":              {"ReadDir", func(m *mutant) { m.reversed = true }},
	"page begins with the name itself":  {"ReadDirWhileChanging", func(m *mutant) { m.again = true }},
	"append at the given offset":        {"Append", func(m *mutant) { m.noAppend = true }},
	"watch resumes one too late":        {"WatchResume", func(m *mutant) { m.late = true }},
	"event lost":                        {"WatchManyWriters", func(m *mutant) { m.lose = true }},
	"event told twice":                  {"WatchDirectory", func(m *mutant) { m.twice = true }},
	"version stands still":              {"Versions", func(m *mutant) { m.still = true }},
	"deposed leader writes":             {"Fences", func(m *mutant) { m.unfenced = true }},
}

type mutant struct {
	tree.FS
	loose, unconditional, replay, torn, operator, reversed, again, noAppend, late, lose, twice, still, unfenced bool
	count                                                                                                       int
}

// TestSuiteFindsFaults runs the suite on each mutant, in a process of its own
// where it may fail.
func TestSuiteFindsFaults(t *testing.T) {
	if os.Getenv("MUTANT") != "" {
		t.Skip("this is one of them")
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run", "^TestTree$/^"+m.finds+"$", "-test.timeout", "60s")
			cmd.Env = append(os.Environ(), "MUTANT="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestTree/"+m.finds) {
				t.Errorf("%s does not find it: %v\n%s", m.finds, err, out)
			}
		})
	}
}

// maybeMutant is fs, or the mutant that this process is to run.
func maybeMutant(fs *FS) tree.FS {
	m, ok := mutants[os.Getenv("MUTANT")]
	if !ok {
		return fs
	}
	x := &mutant{FS: fs}
	m.file(x)
	return struct {
		tree.FS
		tree.Leases
	}{x, fs}
}

func (m *mutant) Attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	c.Operator = c.Operator || m.operator
	if m.unfenced {
		fence = nil
	}
	f, err := m.FS.Attach(ctx, c, aname, fence)
	return m.wrap(f, err)
}

func (m *mutant) wrap(f tree.File, err error) (tree.File, error) {
	if err != nil {
		return nil, err
	}
	return &mutantFile{f, m}, nil
}

type mutantFile struct {
	tree.File
	m *mutant
}

func (f *mutantFile) Walk(ctx context.Context, name string) (tree.File, error) {
	n, err := f.File.Walk(ctx, name)
	return f.m.wrap(n, err)
}

func (f *mutantFile) Create(ctx context.Context, name string, n tree.NewFile) (tree.File, error) {
	n.Exclusive = n.Exclusive && !f.m.loose
	x, err := f.File.Create(ctx, name, n)
	return f.m.wrap(x, err)
}

func (f *mutantFile) Rename(ctx context.Context, name string, to tree.File, newName string) error {
	if x, ok := to.(*mutantFile); ok {
		to = x.File
	}
	return f.File.Rename(ctx, name, to, newName)
}

func (f *mutantFile) Attr(ctx context.Context) (tree.Attr, error) {
	a, err := f.File.Attr(ctx)
	if f.m.still {
		a.Version = 1
	}
	return a, err
}

func (f *mutantFile) Put(ctx context.Context, name string, p tree.Put) (tree.Attr, error) {
	if f.m.unconditional {
		p.If = nil
	}
	if f.m.replay {
		p.NoReplay = ""
	}
	if half := len(p.Data) / 2; f.m.torn && half > 0 && !p.Append && p.If == nil {
		first, rest := p, p
		first.Data, rest.Data, rest.Append, rest.Exclusive = p.Data[:half], p.Data[half:], true, false
		if _, err := f.File.Put(ctx, name, first); err != nil {
			return tree.Attr{}, err
		}
		runtime.Gosched()
		p = rest
	}
	return f.File.Put(ctx, name, p)
}

func (f *mutantFile) ReadDir(ctx context.Context, after string, max int) ([]tree.Dirent, error) {
	list, err := f.File.ReadDir(ctx, after, max)
	if f.m.reversed {
		for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
	}
	if f.m.again && after != "" && len(list) > 1 {
		list = append([]tree.Dirent{{Name: after, ID: 1, Mode: tree.ModeFile}}, list[:len(list)-1]...)
	}
	return list, err
}

func (f *mutantFile) Open(ctx context.Context, mode tree.OpenMode) (tree.Handle, error) {
	mode.Append = mode.Append && !f.m.noAppend
	return f.File.Open(ctx, mode)
}

func (f *mutantFile) Watch(ctx context.Context, version uint64, fn func(uint64, []tree.Event) error) error {
	first := version != 0
	return f.File.Watch(ctx, version, func(at uint64, ev []tree.Event) error {
		if f.m.twice && len(ev) > 0 {
			ev = append(ev[:1:1], ev...)
		}
		if first && f.m.late && len(ev) > 1 {
			first, ev = false, ev[1:]
		}
		if f.m.count += len(ev); f.m.lose && f.m.count > 50 && len(ev) > 0 {
			f.m.count, ev = 0, ev[1:]
		}
		return fn(at, ev)
	})
}
