package pki

import (
	"crypto/rand"
	"encoding/base32"
	"regexp"

	"sigmaos/api"
)

// Suffix of the host name in a node's certificate.
const Suffix = ".node.sigma"

const maxName = 63

var (
	nodeRule    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	clusterRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	low32       = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// CheckName says whether a node may have this name. It becomes part of host
// names, paths and keys, so the rule is that of DNS, in lower case.
func CheckName(name string) error {
	if len(name) > maxName || !nodeRule.MatchString(name) {
		return api.E(api.Invalid, "node name", quote(name), "want 1 to %d of a-z, 0-9, - and ., beginning and ending with a letter or digit", maxName)
	}
	return nil
}

// CheckCluster says whether a cluster may have this id.
func CheckCluster(id string) error {
	if len(id) > maxName || !clusterRule.MatchString(id) {
		return api.E(api.Invalid, "cluster id", quote(id), "want 1 to %d of a-z, 0-9 and -", maxName)
	}
	return nil
}

// NewCluster makes a cluster id that no other cluster has.
func NewCluster() string {
	var b [10]byte
	rand.Read(b[:])
	return low32.EncodeToString(b[:])
}
