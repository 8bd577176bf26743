package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strconv"
	"strings"

	"sigmaos/api"
)

const (
	maxFile   = 64 << 10 // bytes of anything kept or sent
	maxBlocks = 16

	typeCert = "CERTIFICATE"
	typeKey  = "PRIVATE KEY"
)

func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strconv.Quote(s)
}

// encode writes the line "kind 1" and the blocks.
func encode(kind string, blocks ...*pem.Block) []byte {
	b := bytes.NewBufferString(kind + " 1\n")
	for _, block := range blocks {
		pem.Encode(b, block) // fails only with headers, and there are none
	}
	return b.Bytes()
}

// decode reads encode. Nothing but whitespace may follow the last block.
func decode(kind string, b []byte) ([]*pem.Block, error) {
	bad := func(format string, args ...any) error {
		return api.E(api.Invalid, "read", kind, format, args...)
	}
	if len(b) > maxFile {
		return nil, bad("%d bytes; the limit is %d", len(b), maxFile)
	}
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	version, is := strings.CutPrefix(string(line), kind+" ")
	switch {
	case !ok || !is:
		return nil, bad("it does not begin with the line %q", kind+" 1")
	case version != "1":
		return nil, bad("version %s; this is version 1", quote(version))
	}
	var blocks []*pem.Block
	for len(bytes.TrimSpace(rest)) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, bad("damaged after block %d", len(blocks))
		}
		if blocks = append(blocks, block); len(blocks) > maxBlocks {
			return nil, bad("more than %d blocks", maxBlocks)
		}
	}
	return blocks, nil
}

// decodeCerts reads blocks that must all be certificates.
func decodeCerts(kind string, blocks []*pem.Block) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, block := range blocks {
		if block.Type != typeCert {
			return nil, api.E(api.Invalid, "read", kind, "a block is %s; want %s", quote(block.Type), typeCert)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, api.E(api.Invalid, "read", kind, "%v", err)
		}
		out = append(out, cert)
	}
	return out, nil
}

func encodeKey(key crypto.Signer) (*pem.Block, error) {
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, api.E(api.Internal, "write", "private key", "%v", err)
	}
	return &pem.Block{Type: typeKey, Bytes: b}, nil
}

// decodeKey reads a private key; its errors say nothing of what they met.
func decodeKey(kind string, block *pem.Block) (crypto.Signer, error) {
	if block.Type == typeKey {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if s, ok := key.(crypto.Signer); ok && goodKey(s.Public()) == nil {
				return s, nil
			}
		}
	}
	return nil, api.E(api.Invalid, "read", kind, "its first block is no private key of ours (ECDSA P-256 or Ed25519)")
}
