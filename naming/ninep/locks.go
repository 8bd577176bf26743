package ninep

import (
	"syscall"

	"sigmaos/api"
)

// lockUnlock is the type of no lock; 0 and 1 are for reading and writing.
const lockUnlock = 2

func (m *lock) fids() uses { return share(m.Fid) }

// run: the kernel of the client has arbitrated between its own programs before it
// asks. So a lock holds among the programs of one mount and nowhere else, which
// is what git and SQLite need to work there. Who wants more takes an exclusive
// file or an election.
func (m *lock) run(*request) (message, error) {
	if m.Type > lockUnlock {
		return nil, bad("lock", "type %d", m.Type)
	}
	return &rlock{}, nil // 0: granted
}

func (m *getlock) fids() uses { return share(m.Fid) }

func (m *getlock) run(*request) (message, error) {
	if m.Type > lockUnlock {
		return nil, bad("lock", "type %d", m.Type)
	}
	free := *m
	free.Type = lockUnlock
	return &rgetlock{free}, nil
}

// Extended attributes: tools that copy them go on without when they are told
// that there are none of any kind.
func noXattr() error {
	return &numbered{err: api.E(api.Unsupported, "xattr", "", "there are no extended attributes here"), errno: syscall.EOPNOTSUPP}
}

func (m *xattrwalk) fids() uses                      { return share(m.Fid) }
func (m *xattrwalk) run(*request) (message, error)   { return nil, noXattr() }
func (m *xattrcreate) fids() uses                    { return share(m.Fid) }
func (m *xattrcreate) run(*request) (message, error) { return nil, noXattr() }
