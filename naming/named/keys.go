package named

import (
	"encoding/hex"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Every key of a realm begins with treePrefix + realm id + "/". Numbers are 16
// hex digits, so that keys of one kind have one length and sort by number.
//
//	leader      who leads; its create revision is the epoch. Under the leader's etcd lease
//	log         the last transaction: epoch, sequence number, version, its events.
//	            etcd's history of this key is the history of the tree
//	ids         the first file id that no leader has reserved
//	d/ID/NAME   an entry of directory ID: the file there, attributes and content
//	i/ID        the root; in the first format, every file, d/ID/NAME says which
//	l/LEASE     a tenant's lease: holder and TTL
//	r/SEQ       remembered writes, from number SEQ on: ids and what they returned
const treePrefix = "/sigma/v1/realm/"

const rootID = 1

type keys string

func realmKeys(realm string) keys { return keys(treePrefix + realm + "/") }

func (k keys) leader() string { return string(k) + "leader" }
func (k keys) log() string    { return string(k) + "log" }
func (k keys) ids() string    { return string(k) + "ids" }

func (k keys) inode(id uint64) string { return string(k) + "i/" + hex16(id) }

func (k keys) dirent(e entryKey) string { return string(k) + "d/" + hex16(e.parent) + "/" + e.name }

// file is where a file is stored.
func (k keys) file(in *inode) string {
	if in.ID == rootID {
		return k.inode(rootID)
	}
	return k.dirent(entryKey{in.Parent, in.Name})
}

func (k keys) lease(id string) string { return string(k) + "l/" + id }

func (k keys) replay(seq uint64) string { return string(k) + "r/" + hex16(seq) }

func hex16(v uint64) string {
	var b, h = [8]byte{}, [16]byte{}
	be.PutUint64(b[:], v)
	hex.Encode(h[:], b[:])
	return string(h[:])
}

func parseHex16(s string) (uint64, bool) {
	var b [8]byte
	if len(s) != 16 || s != strings.ToLower(s) {
		return 0, false
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return 0, false
	}
	return be.Uint64(b[:]), true
}

// parseDirent reads what is behind "d/" in a key.
func parseDirent(s string) (entryKey, bool) {
	if len(s) < 18 || s[16] != '/' {
		return entryKey{}, false
	}
	id, ok := parseHex16(s[:16])
	return entryKey{parent: id, name: s[17:]}, ok
}

// isEpoch compares the create revision of the leader's key, which is what makes
// every write one of this term.
func (k keys) isEpoch(epoch int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(k.leader()), "=", epoch)
}
