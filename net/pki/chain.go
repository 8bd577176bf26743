package pki

import (
	"crypto/x509"

	"sigmaos/api"
)

// decodeChain reads what Sign wrote: a node's certificate and its CA's.
func decodeChain(chain []byte) ([]*x509.Certificate, error) {
	blocks, err := decode(chainTag, chain)
	if err != nil {
		return nil, err
	}
	certs, err := decodeCerts(chainTag, blocks)
	if err != nil {
		return nil, err
	}
	if len(certs) != 2 {
		return nil, api.E(api.Invalid, "read", chainTag, "%d certificates; want the node's and its CA's", len(certs))
	}
	return certs, nil
}

// ChainPeer is the node that a chain is of, by its own word: nothing is verified.
func ChainPeer(chain []byte) (Peer, error) {
	certs, err := decodeChain(chain)
	if err != nil {
		return Peer{}, err
	}
	return peerOf(certs[0])
}
