package roles

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"sigmaos/internal/clock"
	"sigmaos/naming/named"
	"sigmaos/net/gossip"
	"sigmaos/net/pki"
)

// maxFirst is how many peers a cluster is founded with at most.
const maxFirst = 3

// Founder is one of the nodes that make a new cluster together.
type Founder struct {
	Node    string
	DataDir string
	Addr    string // host:port of its port
}

// Founded reports whether a directory belongs to a cluster already, and whether it
// has an etcd peer.
func Founded(dataDir string) (member, peer bool) {
	_, err := os.Stat(filepath.Join(dataDir, "identity", "shared.json"))
	return err == nil, named.HasPeer(filepath.Join(dataDir, "etcd"))
}

// Found prepares the directories of all nodes of a new cluster, so that they
// know and trust each other when they start: the first three, or the first alone
// where there are fewer, host etcd's peers from the beginning.
func Found(list []Founder) error {
	rec, err := newKeys(pki.NewCluster())
	if err != nil {
		return err
	}
	cas, trust, err := authorities(rec)
	if err != nil {
		return err
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	first := firstPeers{Token: rand.Text(), Record: b}
	for i, f := range list {
		if i == 0 || i < maxFirst && len(list) >= maxFirst {
			first.Members = append(first.Members, f.Node)
		}
		key, err := f.certify(cas[0], uint16(i+1), trust)
		if err != nil {
			return err
		}
		first.Nodes = append(first.Nodes, named.FirstNode{Name: f.Node, Number: uint16(i + 1), Key: key})
	}
	b, err = json.Marshal(first)
	if err != nil {
		return err
	}
	for i, f := range list {
		if i < len(first.Members) {
			if err := os.WriteFile(filepath.Join(f.DataDir, "identity", "first.json"), b, 0o600); err != nil {
				return err
			}
		}
		k := shared{GossipKeys: rec.GossipKeys}
		if err := k.write(f.DataDir); err != nil {
			return err
		}
	}
	return Relocate(list)
}

// certify gives a node its key and certificate; the public key comes back.
func (f Founder) certify(ca *pki.Authority, number uint16, trust []byte) ([]byte, error) {
	id, err := pki.LoadOrCreate(filepath.Join(f.DataDir, "identity"), clock.Real())
	if err != nil {
		return nil, err
	}
	csr, err := id.CSR()
	if err != nil {
		return nil, err
	}
	key, err := pki.CheckCSR(csr)
	if err != nil {
		return nil, err
	}
	chain, err := ca.Sign(csr, f.Node, number, time.Now())
	if err != nil {
		return nil, err
	}
	if err := id.Install(chain, trust); err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(key)
}

// Relocate tells nodes of a cluster that all stand still where the others will
// be.
func Relocate(list []Founder) error {
	for _, f := range list {
		b, err := os.ReadFile(filepath.Join(f.DataDir, "identity", "shared.json"))
		if os.IsNotExist(err) {
			continue
		}
		var k shared
		if err == nil {
			err = json.Unmarshal(b, &k)
		}
		if err != nil {
			return err
		}
		k.Seeds = nil
		for _, o := range list {
			if o.Node != f.Node {
				k.Seeds = append(k.Seeds, gossip.Seed{Name: o.Node, Addr: o.Addr})
			}
		}
		if err := k.write(f.DataDir); err != nil {
			return err
		}
	}
	return nil
}

func (k shared) write(dataDir string) error {
	path := filepath.Join(dataDir, "identity", "shared.json")
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
