package mr

import (
	"bytes"
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"sigmaos/api"
	"sigmaos/sigma/job"
)

// Range is a part of a file.
type Range struct {
	File  string `json:"f"`
	Start int64  `json:"s"`
	End   int64  `json:"e"`
	Whole bool   `json:"w,omitempty"` // it is the whole file
}

// split is what one mapper reads: at most splitFiles ranges.
type split []Range

const (
	splitFiles = 500
	splitNames = 48 << 10 // bytes of paths in one split
	smallest   = 1 << 20
	largest    = 32 << 20
	most       = 4000 // splits
)

// sizes tells how large a split should be that begins so many bytes into the input.
type sizes func(at int64) int64

// evenly has all splits of one size.
func evenly(size, total int64) sizes {
	size = max(size, total/most)
	return func(int64) int64 { return size }
}

// splitSize is the size of splits of which so many are begun at once.
func splitSize(total int64, atOnce int) int64 {
	return max(min(max(total/int64(atOnce)+1, smallest), largest), total/most)
}

// closing has the last splits, one for each core, of half the size of the others. No
// two cost the same; so the cores are busy until the end, or nearly.
func closing(total int64, cores int) sizes {
	size := max(splitSize(2*total/3, cores), total/most)
	last := int64(cores) * size / 2
	return func(at int64) int64 {
		if total-at <= last {
			return max(size/2, smallest)
		}
		return size
	}
}

// found is an input file.
type found struct {
	path string
	size int64
}

// find lists the files at and below the given paths, in order. Names that begin
// with a dot or an underscore are left out below a directory, as markers are.
func find(ctx context.Context, s space, paths []string) ([]found, error) {
	const atOnce = 8
	lists := make([][]found, len(paths))
	err := job.Each(min(atOnce, len(paths)), func(w int) error {
		for i := w; i < len(paths); i += atOnce {
			e, err := s.Stat(ctx, paths[i])
			switch {
			case err != nil:
			case e.dir:
				lists[i], err = findIn(ctx, s, paths[i], nil)
			default:
				lists[i] = []found{{paths[i], e.size}}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return slices.Concat(lists...), err
}

func findIn(ctx context.Context, s space, dir string, out []found) ([]found, error) {
	list, err := s.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if strings.HasPrefix(e.name, ".") || strings.HasPrefix(e.name, "_") {
			continue
		}
		p := path.Join(dir, e.name)
		if !e.dir {
			out = append(out, found{p, e.size})
		} else if out, err = findIn(ctx, s, p, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// cut makes splits of about a size. Large files are cut behind a line's end, small
// ones share a split.
func cut(ctx context.Context, s space, files []found, want sizes) ([]split, error) {
	parts, err := cutFiles(ctx, s, files, want)
	if err != nil {
		return nil, err
	}
	var out []split
	var last split
	var at, bytes, names int64
	flush := func() {
		if len(last) > 0 {
			out = append(out, last)
		}
		last, at, bytes, names = nil, at+bytes, 0, 0
	}
	for _, ranges := range parts {
		for _, r := range ranges {
			n, size := r.End-r.Start, want(at)
			if bytes+n > size+size/4 || len(last) == splitFiles || names+int64(len(r.File)) > splitNames {
				flush()
			}
			last, bytes, names = append(last, r), bytes+n, names+int64(len(r.File))
		}
	}
	flush()
	return out, nil
}

// cutFiles cuts each file, several at a time.
func cutFiles(ctx context.Context, s space, files []found, want sizes) ([][]Range, error) {
	const atOnce = 8
	out := make([][]Range, len(files))
	begins := make([]int64, len(files)+1)
	for i, f := range files {
		begins[i+1] = begins[i] + f.size
	}
	var wg sync.WaitGroup
	errs := make([]error, atOnce)
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < len(files) && errs[w] == nil; i += atOnce {
				out[i], errs[w] = cutFile(ctx, s, files[i], func(at int64) int64 { return want(begins[i] + at) })
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func cutFile(ctx context.Context, s space, f found, want sizes) (out []Range, err error) {
	if f.size == 0 {
		return nil, nil
	}
	if size := want(0); f.size <= size+size/4 {
		return []Range{{f.path, 0, f.size, true}}, nil
	}
	in, err := s.Open(ctx, f.path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	for start := int64(0); start < f.size; {
		end, size := f.size, want(start)
		if f.size-start > size+size/4 {
			if end, err = border(in, start+size, f.size); err != nil {
				return nil, api.E(api.KindOf(err), "split", f.path, "%v", err)
			}
		}
		out = append(out, Range{f.path, start, end, false})
		start = end
	}
	return out, nil
}

// border is the first place at or behind at where a record may begin: behind a
// line's end within MaxRecord, or, in a longer line, behind white space.
func border(in io.ReaderAt, at, size int64) (int64, error) {
	window := make([]byte, 64<<10)
	space := int64(-1)
	for off := at - 1; off < size; off += int64(len(window)) {
		n, err := in.ReadAt(window, off)
		if n == 0 && err == io.EOF {
			return off, nil // it is shorter than it was
		}
		if err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.IndexByte(window[:n], '\n'); i >= 0 {
			return off + int64(i) + 1, nil
		}
		if space < 0 {
			if i := indexSpace(window[:n]); i >= 0 {
				space = off + int64(i) + 1
			}
		}
		if space >= 0 && off-at > MaxRecord {
			return space, nil
		}
	}
	return size, nil
}

func isSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

func indexSpace(b []byte) int {
	for i, c := range b {
		if isSpace(c) {
			return i
		}
	}
	return -1
}

func lastSpace(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if isSpace(b[i]) {
			return i
		}
	}
	return -1
}
