package tree

import "context"

// Lister is a File that lists a directory with the attributes of its entries in
// one step, as object stores do: ReadDir, and an Attr for each Dirent. There are no
// attributes at all where the caller may see the names alone.
type Lister interface {
	List(ctx context.Context, after string, max int) ([]Dirent, []Attr, error)
}

// CreateOpener is a directory in which a new file comes to be when its handle is
// closed without an error, and not before: its Attr has no Links until then. Such
// a handle is an Aborter too. What is there already is opened, unless n is
// exclusive.
type CreateOpener interface {
	CreateOpen(ctx context.Context, name string, n NewFile, m OpenMode) (File, Handle, error)
}

// Aborter is a Handle that can be ended as if it had never been opened: nothing
// comes of what was written. It is what happens to the handles of a connection
// that breaks.
type Aborter interface {
	Abort()
}

// EntryGetter is a directory that reads an entry whole in one step: what Walk and
// Get would, but of one moment, also while entries are renamed.
type EntryGetter interface {
	GetEntry(ctx context.Context, name string, max int) (Attr, []byte, error)
}
