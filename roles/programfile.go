package roles

import (
	"context"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/resolve/over9p"
	"sigmaos/naming/tree"
)

// openFile is a file of a realm's name space, open for reading, and its place on
// the way there. Its owner closes it.
type openFile struct {
	h     *ninep.Handle
	at    *pathServer // its server …
	names []string    // … and its path there
	attr  tree.Attr
	end   func()
}

// openTime bounds the way to a file.
const openTime = 10 * time.Second

// open opens the file at a path as c may. also, where it is not nil, is told of the
// place while that is being opened.
func (ws *ways) open(ctx context.Context, c api.Caller, path string, also func(at *pathServer, names []string)) (*openFile, error) {
	w, leave, err := ws.enter(c)
	if err != nil {
		return nil, err
	}
	f := &openFile{end: leave}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	err = w.resolver().Do(ctx, path, func(ctx context.Context, ps *pathServer, names []string) (*resolve.Stop, error) {
		if also != nil {
			also(ps, names)
		}
		h, at, err := ps.Root.Open(ctx, tree.OpenMode{Read: true}, names...)
		if err != nil || h == nil {
			return over9p.StopAt(at), err
		}
		f.h, f.at, f.names = h, ps, names
		f.attr, err = h.Attr(ctx)
		return nil, err
	})
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *openFile) close() {
	if f.h != nil {
		f.h.Close()
	}
	f.end()
}
