package bench

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"sigmaos/api"
	"sigmaos/sigma"
)

const (
	scratchFile   = 256 << 20
	scratchPiece  = 1 << 20
	scratchRounds = 31
)

// scratch reads a file of this node's scratch from its beginning to its end, in
// turn with the same file on the disk, from the page cache.
func (b *nameBench) scratch() (rows []Result, err error) {
	path := fmt.Sprintf("/ux/~local%s", b.dir)
	w, err := b.n.Create(b.ctx, path)
	if err != nil {
		return nil, err
	}
	defer b.n.Remove(b.ctx, path)
	piece := make([]byte, scratchPiece)
	for range scratchFile / scratchPiece {
		if _, err := w.Write(piece); err != nil {
			w.Close()
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	f, err := b.n.Open(b.ctx, path)
	if err != nil {
		return nil, err
	}
	disk, err := onDisk(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	var ours, theirs []float64
	type way struct {
		out  *[]float64
		open func() (io.ReadCloser, error)
	}
	ways := []way{
		{&ours, func() (io.ReadCloser, error) { return b.n.Open(b.ctx, path) }},
		{&theirs, func() (io.ReadCloser, error) { return os.Open(disk) }},
	}
	for range scratchRounds {
		slices.Reverse(ways) // who comes second finds warmer caches
		for _, m := range ways {
			ms, err := timed(func() error { return readThrough(m.open, piece) })
			if err != nil {
				return nil, err
			}
			*m.out = append(*m.out, scratchFile/1e6/ms)
		}
	}
	direct := row("file on the disk", "GB/s", theirs)
	direct.Note = fmt.Sprintf("%d MiB, %d MiB at a time, from open to close, in the page cache", scratchFile>>20, scratchPiece>>20)
	return []Result{compare(row("ux-read", "GB/s", ours), direct), direct}, nil
}

// readThrough reads what open gives, to the end.
func readThrough(open func() (io.ReadCloser, error), piece []byte) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	total := int64(0)
	for {
		n, err := r.Read(piece)
		total += int64(n)
		if err == io.EOF && total == scratchFile {
			return nil
		}
		if err != nil {
			return fmt.Errorf("bench: after %d bytes of a file of %d: %w", total, scratchFile, err)
		}
	}
}

// onDisk finds where the node has the file that f is open on: f has its
// descriptor.
func onDisk(f *sigma.File) (string, error) {
	name := f.Name()[strings.LastIndexByte(f.Name(), '/'):]
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return "", err
	}
	for _, e := range list {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasSuffix(to, name) {
			return to, nil
		}
	}
	return "", api.E(api.Unsupported, "bench", f.Name(), "its descriptor did not come: the node is not on this machine")
}
