package sigma

import (
	"context"
	"slices"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

// Event is one change of a watched file, or of an entry of a watched directory.
type Event = tree.Event

// The kinds of an Event.
const (
	Created = tree.Created
	Changed = tree.Changed
	Removed = tree.Removed
	Renamed = tree.Renamed
)

// Watch calls fn with every change of the file at path, or of the entries of the
// directory there, after version (0: from now on), in order, none twice, until fn
// or ctx ends it. at is the version up to which all was told; a Watch from there
// goes on without a gap. When its server is lost, Watch finds it again by itself.
// Kind TooOld says that the changes after version are forgotten: list again.
func (n *Names) Watch(ctx context.Context, path string, version uint64, fn func(at uint64, ev []Event) error) error {
	told := version
	var failed error
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := n.do(ctx, path, true, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
			fid, w, err := s.Root.Walk(ctx, names...)
			if err != nil || w.Link {
				return w, err
			}
			defer fid.Close()
			if t := w.Attr.Mode & tree.ModeType; len(names) > 0 && (t == tree.ModeSymlink || t == tree.ModeEndpoint) {
				w.Link, w.Names = true, len(names)
				return w, nil
			}
			return w, fid.Watch(ctx, told, func(at uint64, ev []Event) error {
				pause = 10 * time.Millisecond
				if failed = fn(at, ev); failed == nil {
					told = at
				}
				return failed
			})
		})
		if failed != nil {
			return failed
		}
		if api.KindOf(err) != api.Unavailable || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// OpenWatch calls fn with the changes of a directory, beginning with an event
// for each entry that is there now.
func (n *Names) OpenWatch(ctx context.Context, dir string, fn func(ev []Event) error) error {
	for {
		i, err := n.Stat(ctx, dir+"/")
		if err != nil {
			return err
		}
		list, err := n.ReadDir(ctx, dir, "", 0)
		if err != nil {
			return err
		}
		l := listed{versions: make(map[string]uint64, len(list))}
		var ev []Event
		for _, e := range list {
			ev = append(ev, Event{Version: e.Version, Kind: Created, Name: e.name, ID: e.ID})
			l.versions[e.name], l.last = e.Version, max(l.last, e.Version)
		}
		if err := fn(ev); err != nil {
			return err
		}
		err = n.Watch(ctx, dir, max(i.Version, 1), func(at uint64, ev []Event) error {
			if ev = l.news(at, ev); len(ev) == 0 {
				return nil
			}
			return fn(ev)
		})
		if api.KindOf(err) != api.TooOld {
			return err
		}
	}
}

// listed is what a list told of the versions behind the one from which a watch
// tells.
type listed struct {
	versions map[string]uint64
	last     uint64
}

// news is what the list has not told yet.
func (l *listed) news(at uint64, ev []Event) []Event {
	if l.versions == nil {
		return ev
	}
	ev = slices.DeleteFunc(slices.Clone(ev), func(e Event) bool { return e.Version <= l.versions[e.Name] })
	if at >= l.last {
		l.versions = nil
	}
	return ev
}
