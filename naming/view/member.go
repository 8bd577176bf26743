package view

import (
	"context"
	"math/rand/v2"

	"sigmaos/api"
	"sigmaos/naming/resolve"
	"sigmaos/naming/tree"
)

func noMember(op, name string) error {
	return api.E(api.Invalid, op, name, "%s stands for one of the servers here; it can be neither made nor changed", name)
}

// lookMember makes the symbolic link that ~local or ~any looks like.
func (f *File) lookMember(ctx context.Context, name string) (*File, tree.Attr, error) {
	f.fs.mu.Lock()
	g := &File{fs: f.fs, kind: member, region: f.region, parent: f, name: name}
	f.fs.mu.Unlock()
	a, err := g.memberAttr(ctx)
	if err != nil {
		return nil, a, err
	}
	g.id = g.region.own(a.ID)
	return g, a, nil
}

// memberAttr finds the server that ~local or ~any stands for just now.
func (f *File) memberAttr(ctx context.Context) (tree.Attr, error) {
	links, dir, err := f.parent.links(ctx)
	if err != nil {
		return tree.Attr{}, err
	}
	to, err := f.choose(ctx, links)
	if err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{
		ID: f.shown(tree.Attr{ID: mix(dir.ID, 1, f.name)}).ID, Version: dir.Version, Mode: tree.ModeSymlink | 0o777, Links: 1,
		Size: int64(len(to)), Target: to, Modified: dir.Modified,
	}
	return a, nil
}

// links lists the endpoint links of a directory.
func (f *File) links(ctx context.Context) (out []Listed, dir tree.Attr, err error) {
	if dir, err = f.Attr(ctx); err != nil {
		return nil, dir, err
	}
	for after, end := "", false; !end; {
		var list []Listed
		if list, end, err = f.List(ctx, after, 0); err != nil {
			return nil, dir, err
		}
		for _, e := range list {
			after = e.Name
			if e.Attr != nil && e.Attr.Mode&tree.ModeType == tree.ModeEndpoint {
				out = append(out, e)
			}
		}
	}
	return out, dir, nil
}

func (f *File) choose(ctx context.Context, links []Listed) (string, error) {
	rand.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
	var others []Listed
	for _, e := range links {
		if f.fs.cfg.Source.Here(*e.Attr) {
			return e.Name, nil
		}
		others = append(others, e)
	}
	if f.name == resolve.Any {
		for _, e := range others {
			if g, a, err := f.parent.Entry(ctx, e.Name, *e.Attr); err == nil && g.kind == atRoot && a.IsDir() {
				return e.Name, nil
			}
		}
	}
	return "", api.E(api.NotFound, "walk", f.name, "no server of this directory is meant by it")
}
