// Package tree is what a served part of a realm's name space looks like to the
// code that serves it: named's root, a node's scratch space, an object store,
// a proc's own files. A server implements [FS]; naming/ninep puts it on the wire;
// nobody else needs to know what is behind it.
//
// # Who asks
//
// [FS.Attach] is given the caller that the transport knows, and every [File]
// reached from there acts for that caller: owner and mode bits are checked
// against it, never against what a message says.
//
// # Names
//
// A File is one place in the tree. Walk goes one step; there is no "." and no
// "..": whoever resolves paths has taken them out. A File needs no closing; an
// open [Handle] does. Errors are *api.Error; their kinds are what clients see:
// NotFound, Exists, Denied, Invalid, TooLarge, Busy (a quota is used up),
// Conflict (a condition on version or fence failed), NotEmpty, NotDir, IsDir,
// TooOld (a watch from a version that is forgotten), Unsupported, Unavailable.
//
// # Versions and watches
//
// Every change of a tree has a version, growing with each change of that tree.
// An [Attr] carries the version of the last change of its file, a directory's
// that of its last entry that came or went. A watch gives every change after a
// version, in order, none twice.
package tree

import (
	"context"
	"os"
	"time"

	"sigmaos/api"
)

// Limits that every server keeps to.
const (
	MaxName = 255      // bytes of one name
	MaxPath = 16 << 10 // bytes of a path
	MaxPage = 4096     // entries of one ReadDir
)

// Types and permission bits of Attr.Mode, as in Linux.
const (
	ModeType     = 0o170000
	ModeDir      = 0o040000
	ModeFile     = 0o100000
	ModeSymlink  = 0o120000
	ModeEndpoint = 0o140000 // an endpoint link; shown as a socket
	ModePerm     = 0o777
)

// Attr describes a file.
type Attr struct {
	ID        uint64 // of the file, never given to another one of this tree
	Version   uint64 // of its last change
	Mode      uint32 // type and permission
	Owner     string // user; every user of the realm is in its group
	Size      int64  // bytes
	Links     uint32
	Modified  time.Time
	Target    string // a symlink's path; an endpoint link's token
	Published bool   // an endpoint link that an operator made for a service outside
	Lease     string // an ephemeral file goes with this lease; "" stays
}

// IsDir reports whether it is a directory.
func (a Attr) IsDir() bool { return a.Mode&ModeType == ModeDir }

// Dirent is an entry of a directory.
type Dirent struct {
	Name string
	ID   uint64
	Mode uint32
}

// OpenMode says what an open file is for.
type OpenMode struct {
	Read, Write, Append, Truncate bool
}

// NewFile says how an entry is made.
type NewFile struct {
	Mode      uint32 // type and permission; ModeFile, ModeDir, ModeSymlink or ModeEndpoint
	Exclusive bool   // an existing entry is an error of kind Exists
	Target    string // of a symlink or endpoint link
	Lease     string // "" is for ever
	Published bool   // operators only
}

// Put says how a whole file is written at once.
type Put struct {
	NewFile          // for a file that is not there yet; Mode's type is ModeFile
	Create   bool    // make it when it is not there
	Append   bool    // behind what is there, instead of replacing it
	If       *uint64 // only when the file has this version; 0: only when it is not there
	Data     []byte
	NoReplay string // optional id of this write: a second one with the same id changes nothing
}

// SetAttr changes what is not nil.
type SetAttr struct {
	Perm     *uint32
	Owner    *string
	Size     *int64
	Modified *time.Time
}

// EventKind is what happened.
type EventKind uint8

// The kinds of an Event.
const (
	Created EventKind = iota + 1
	Changed           // content or attributes
	Removed
	Renamed // away: the entry left under this name; its arrival is Created
)

// Event is one change.
type Event struct {
	Version uint64
	Kind    EventKind
	Name    string // in a watched directory; "" for the watched file itself
	ID      uint64
}

// Fence is a term of an election: writes that carry it are refused with kind
// Conflict once a later term was won.
type Fence struct {
	Path  string // the election's file, absolute in the realm
	Epoch uint64
}

// FS is a served tree.
type FS interface {
	// Attach returns the root for a caller. aname is the path of the part that
	// is wanted, "" or "/" for all of it.
	Attach(ctx context.Context, c api.Caller, aname string, fence *Fence) (File, error)
}

// File is a place in a tree, for one caller. Its methods may be called
// concurrently. On a File of the wrong type they fail with NotDir, IsDir or
// Invalid.
type File interface {
	Attr(ctx context.Context) (Attr, error)
	SetAttr(ctx context.Context, s SetAttr) (Attr, error)
	Open(ctx context.Context, m OpenMode) (Handle, error)

	// Of directories.
	Walk(ctx context.Context, name string) (File, error)
	// ReadDir returns up to max entries in byte order of their names, beginning
	// behind the name after; fewer than max only at the end.
	ReadDir(ctx context.Context, after string, max int) ([]Dirent, error)
	Create(ctx context.Context, name string, n NewFile) (File, error)
	// Put writes the whole of a small file in one step that is seen whole or not
	// at all, and returns its new attributes.
	Put(ctx context.Context, name string, p Put) (Attr, error)
	// Remove takes an entry away; dir says that it must be an (empty) directory,
	// !dir that it must be none.
	Remove(ctx context.Context, name string, dir bool) error
	// Rename moves an entry over what is there, in one step.
	Rename(ctx context.Context, name string, to File, newName string) error

	// Watch calls fn with changes of this file, or of this directory's entries,
	// after version (0: from now on; the first call then has no events and only
	// tells the version from which it counts), until fn or ctx ends it. fn is
	// called by one goroutine at a time; at is the version up to which all is told.
	Watch(ctx context.Context, version uint64, fn func(at uint64, ev []Event) error) error
}

// Handle is an open file.
type Handle interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error) // io.EOF at the end
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	Sync(ctx context.Context) error
	Close() error
}

// Descriptor is a Handle on a file of this machine's disk: a reader on the same
// node may be handed the descriptor itself. The caller closes what it gets.
type Descriptor interface {
	Descriptor() (*os.File, error)
}

// Attrs is a Handle that tells and changes the attributes of its file also when
// the file's entry was removed since: what fstat and ftruncate do.
type Attrs interface {
	Attr(ctx context.Context) (Attr, error)
	SetAttr(ctx context.Context, s SetAttr) (Attr, error)
}

// Getter is a File that gives attributes and content of one version in one step.
// Of more than max bytes there is no content, only attributes. The caller does
// not change the bytes.
type Getter interface {
	Get(ctx context.Context, max int) (Attr, []byte, error)
}

// Space is what is left where a File is.
type Space struct {
	Bytes, FreeBytes int64
	Files, FreeFiles int64
}

// Spacer is a File that knows its Space: what df shows.
type Spacer interface {
	Space(ctx context.Context) (Space, error)
}

// Forgetter is a File that holds something (a descriptor, a number on a remote
// server) and is told when nobody needs it any more. Nothing depends on the
// call: a File that is only dropped is left to the garbage collector.
type Forgetter interface {
	Forget()
}

// Leases is the part of an FS that keeps ephemeral files: named.
type Leases interface {
	// Grant makes a lease for the caller; it ends after ttl without Renew.
	Grant(ctx context.Context, c api.Caller, ttl time.Duration) (lease string, err error)
	Renew(ctx context.Context, c api.Caller, lease string) error
	Revoke(ctx context.Context, c api.Caller, lease string) error
}
