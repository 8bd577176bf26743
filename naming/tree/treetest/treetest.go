// Package treetest holds servers of a [tree.FS] to what package tree says.
//
// A server's own test calls [Run] with a function that makes an empty tree, and
// says in a [Config] which of the optional things the tree has. The same suite
// runs on a tree in memory, on the same tree behind the wire, on named and on
// scratch space, so that a program may be moved from one to the other.
//
// Where package tree leaves a choice, the suite takes all answers: the
// alternatives are in the test.
package treetest

import (
	"testing"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Config says what a tree can do.
type Config struct {
	Realm string // of the callers; default "r1"

	Symlinks  bool
	Endpoints bool // endpoint links
	Rename    bool
	Owners    bool // owner and mode bits are kept and enforced
	Versions  bool // every change raises the version; Put has If
	NoReplay  bool // Put has NoReplay
	Watch     bool
	History   int  // a watch from this many changes ago is TooOld; 0 is not tried
	Leases    bool // the FS is a tree.Leases, and has ephemeral files
	Fences    bool // a fence that was seen at Attach deposes earlier ones
	Unlinked  bool // a Handle goes on when its file's entry is removed
	Append    bool // handles that append put every write at the end
	Objects   bool // an object store: files are written from beginning to end, and are there when they are closed
	Foreign   bool // a server of somebody else's: Put is no single step, and numbers are used again

	// Skip names tests that this server cannot pass, and why: one of somebody else's
	// that has a defect of its own.
	Skip map[string]string

	MaxFile int64 // bytes in one file, at least 64 KiB; 0 is not tried
	MaxPut  int64 // bytes in one Put; default 64 KiB, must be less than MaxFile
}

// All is the Config of a tree that can do everything.
func All() Config {
	return Config{
		Symlinks: true, Endpoints: true, Rename: true, Owners: true, Versions: true, NoReplay: true,
		Watch: true, Leases: true, Fences: true, Unlinked: true, Append: true,
	}
}

// Run tests the trees that fresh makes, one for each test. fresh uses t.Cleanup
// to end them. In the root an operator must be able to make a directory.
func Run(t *testing.T, cfg Config, fresh func(t *testing.T) tree.FS) {
	if cfg.Realm == "" {
		cfg.Realm = "r1"
	}
	if cfg.MaxPut == 0 {
		cfg.MaxPut = 64 << 10
	}
	for _, c := range []struct {
		name string
		has  bool
		test func(*env)
	}{
		{"Attach", true, testAttach},
		{"Names", true, testNames},
		{"WrongTypes", true, testWrongTypes},
		{"Create", true, testCreate},
		{"Remove", true, testRemove},
		{"ReadDir", true, testReadDir},
		{"ReadDirWhileChanging", true, testReadDirWhileChanging},
		{"ReadWrite", !cfg.Objects, testReadWrite},
		{"Offsets", !cfg.Objects, testOffsets},
		{"OpenModes", true, testOpenModes},
		{"Append", cfg.Append, testAppend},
		{"Unlinked", cfg.Unlinked, testUnlinked},
		{"SetAttr", !cfg.Objects, testSetAttr},
		{"MaxFile", cfg.MaxFile > 0, testMaxFile},
		{"Put", true, testPut},
		{"PutIf", cfg.Versions, testPutIf},
		{"PutNoReplay", cfg.NoReplay, testPutNoReplay},
		{"Versions", cfg.Versions, testVersions},
		{"Rename", cfg.Rename, testRename},
		{"RenameRefused", cfg.Rename, testRenameRefused},
		{"Symlinks", cfg.Symlinks, testSymlinks},
		{"Endpoints", cfg.Endpoints, testEndpoints},
		{"Owners", cfg.Owners, testOwners},
		{"OwnersOfEntries", cfg.Owners, testOwnersOfEntries},
		{"WatchDirectory", cfg.Watch, testWatchDirectory},
		{"WatchFile", cfg.Watch, testWatchFile},
		{"WatchResume", cfg.Watch, testWatchResume},
		{"WatchRename", cfg.Watch && cfg.Rename, testWatchRename},
		{"WatchEnds", cfg.Watch, testWatchEnds},
		{"WatchTooOld", cfg.Watch && cfg.History > 0, testWatchTooOld},
		{"WatchManyWriters", cfg.Watch, testWatchManyWriters},
		{"Leases", cfg.Leases, testLeases},
		{"LeasesOfOthers", cfg.Leases, testLeasesOfOthers},
		{"Fences", cfg.Fences, testFences},
		{"ExclusiveCreateRace", true, testExclusiveRace},
		{"CompareAndSetRace", cfg.Versions, testCompareAndSetRace},
		{"Get", cfg.Versions, testGet},
		{"GetEntry", cfg.Versions && cfg.Rename, testGetEntry},
		{"PutIsWhole", !cfg.Foreign, testPutIsWhole},
		{"Objects", cfg.Objects, testObjects},
		{"ObjectsSynced", cfg.Objects, testObjectsSynced},
		{"ObjectsAbandoned", cfg.Objects, testObjectsAbandoned},
		{"ObjectsLists", cfg.Objects, testObjectsLists},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.has {
				t.Skip("this tree does not offer it")
			}
			if why, ok := cfg.Skip[c.name]; ok {
				t.Skip(why)
			}
			c.test(newEnv(t, cfg, fresh(t)))
		})
	}
}

// caller is a user of the suite's realm.
func (cfg Config) caller(user string) api.Caller {
	return api.Caller{Node: "n1", Realm: cfg.Realm, User: user, Operator: user == ""}
}
