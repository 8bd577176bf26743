package ninep

import (
	"hash/fnv"

	"sigmaos/naming/tree"
)

// Numbers that stand for owners in the plain dialect.
const (
	firstUID = 10_000
	lastUID  = 59_999
)

// UID is the number shown for an owner: 0 for "", the system; else always the
// same one of 10000 to 59999. Two owners may have the same; nothing is decided
// by it.
func UID(owner string) uint32 {
	if owner == "" {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(owner))
	return firstUID + h.Sum32()%(lastUID-firstUID+1)
}

// mix makes the salt of a tree that was entered through the link id: numbers of
// two trees must not be equal on one mount.
func mix(salt, id uint64) uint64 {
	x := salt ^ id + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func qidOf(a tree.Attr, salt uint64) qid {
	return qid{Type: qidType(a.Mode), Version: uint32(a.Version), Path: a.ID ^ salt}
}

func qidType(mode uint32) uint8 {
	switch mode & tree.ModeType {
	case tree.ModeDir:
		return qidDir
	case tree.ModeSymlink:
		return qidSymlink
	}
	return 0
}

// Types in directory entries, as in getdents.
const (
	dtUnknown = 0
	dtDir     = 4
	dtFile    = 8
	dtSymlink = 10
	dtSocket  = 12
)

func direntType(mode uint32) uint8 { return uint8(mode >> 12) }
