package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strconv"

	"sigmaos/sigma"
	"sigmaos/sigma/job"
)

// streamPiece is how much is read or written at once.
const streamPiece = 1 << 20

// streamed is the result of `benchproc stream`: ns from opening the file to its
// end, or to when it is whole; and what CPU time that took of this proc.
type streamed struct {
	NS  int64 `json:"ns"`
	CPU int64 `json:"cpu_ns"`
}

// stream reads or writes one file of the realm from its beginning to its end:
// read PATH BYTES, write PATH BYTES. The way to its server was gone once before.
func stream(ctx context.Context, args []string) (r streamed, err error) {
	if len(args) != 3 {
		return r, fmt.Errorf("want read or write, PATH, BYTES; not %q", args)
	}
	size, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil || size < 1 {
		return r, fmt.Errorf("%q is no size", args[2])
	}
	do := map[string]func(context.Context, string, []byte, int64) error{"read": streamIn, "write": streamOut}[args[0]]
	if do == nil {
		return r, fmt.Errorf("%q is neither read nor write", args[0])
	}
	piece := make([]byte, streamPiece)
	rand.Read(piece)
	if _, err := sigma.Stat(ctx, parent(args[1])); err != nil {
		return r, err
	}
	begin, used := now(), cpu()
	if err := do(ctx, args[1], piece, size); err != nil {
		return r, err
	}
	return streamed{now() - begin, cpu() - used}, nil
}

// parent is the directory of path, with a slash: a server's own root is meant.
func parent(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return path[:i+1]
		}
	}
	return "/"
}

func streamIn(ctx context.Context, path string, piece []byte, size int64) error {
	f, err := sigma.Open(ctx, path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, piece)
	if err == nil && n != size {
		err = fmt.Errorf("%s has %d bytes, want %d", path, n, size)
	}
	return err
}

func streamOut(ctx context.Context, path string, piece []byte, size int64) error {
	f, err := sigma.Create(ctx, path)
	if err != nil {
		return err
	}
	for left := size; left > 0; {
		n, err := f.Write(piece[:min(int64(len(piece)), left)])
		if err != nil {
			f.Abandon()
			return err
		}
		left -= int64(n)
	}
	return f.Close()
}

// cpu is the CPU time of this process so far, ns.
func cpu() int64 {
	used, _ := job.Usage()
	return int64(used)
}
