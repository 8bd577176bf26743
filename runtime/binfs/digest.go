package binfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ChunkSize is the unit of verification, bytes.
const ChunkSize = 64 << 10

const (
	digestPrefix = "s1-"
	treeVersion  = 1
	treeHead     = 13      // bytes before the chunks' digests
	maxChunks    = 1 << 16 // 4 GiB
)

// Digest names a program's content: "s1-" and 64 hex digits, the SHA-256 over
// its size and the SHA-256 of each chunk.
type Digest string

// ParseDigest checks the form.
func ParseDigest(s string) (Digest, error) {
	h, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(h) != 64 || strings.Trim(h, "0123456789abcdef") != "" {
		return "", errors.New("binfs: a digest is s1- and 64 hex digits")
	}
	return Digest(s), nil
}

// Tree holds what is needed to verify a program chunk by chunk.
type Tree struct {
	Size   int64
	Chunks [][sha256.Size]byte
}

// Sum reads r to its end.
func Sum(r io.Reader) (Tree, error) {
	var s Summer
	if _, err := io.CopyBuffer(&s, struct{ io.Reader }{r}, make([]byte, ChunkSize)); err != nil {
		return s.tree, err
	}
	if len(s.chunk) > 0 {
		s.end()
	}
	return s.tree, nil
}

// Marshal is the stored form; its SHA-256 is the digest.
func (t Tree) Marshal() []byte {
	b := make([]byte, 0, 16+len(t.Chunks)*sha256.Size)
	b = append(b, treeVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Size))
	b = binary.LittleEndian.AppendUint32(b, ChunkSize)
	for _, c := range t.Chunks {
		b = append(b, c[:]...)
	}
	return b
}

// Digest is the name of the content.
func (t Tree) Digest() Digest {
	h := sha256.Sum256(t.Marshal())
	return Digest(digestPrefix + hex.EncodeToString(h[:]))
}

// UnmarshalTree reads Marshal's form and checks that it is d's.
func UnmarshalTree(b []byte, d Digest) (t Tree, err error) {
	bad := fmt.Errorf("binfs: the digest tree of %s is damaged", d)
	if len(b) < treeHead || b[0] != treeVersion || binary.LittleEndian.Uint32(b[9:]) != ChunkSize {
		return t, bad
	}
	size := binary.LittleEndian.Uint64(b[1:])
	n := (size + ChunkSize - 1) / ChunkSize
	if size > maxChunks*ChunkSize || uint64(len(b)) != treeHead+n*sha256.Size {
		return t, bad
	}
	t.Size = int64(size)
	t.Chunks = make([][sha256.Size]byte, n)
	for i := range t.Chunks {
		copy(t.Chunks[i][:], b[treeHead+i*sha256.Size:])
	}
	if t.Digest() != d {
		return Tree{}, bad
	}
	return t, nil
}

// treeLen is how long a marshalled tree is, of which b is at least the beginning.
func treeLen(b []byte) (int, error) {
	if len(b) < treeHead {
		return 0, errors.New("binfs: no digest tree")
	}
	size := binary.LittleEndian.Uint64(b[1:])
	if size > maxChunks*ChunkSize {
		return 0, errors.New("binfs: the digest tree of a program that is too large")
	}
	return treeHead + int((size+ChunkSize-1)/ChunkSize)*sha256.Size, nil
}

// Verify checks chunk i.
func (t Tree) Verify(i int, data []byte) error {
	if i < 0 || i >= len(t.Chunks) {
		return fmt.Errorf("binfs: chunk %d of %d", i, len(t.Chunks))
	}
	if h := sha256.Sum256(data); !bytes.Equal(h[:], t.Chunks[i][:]) {
		return fmt.Errorf("binfs: chunk %d is not what its digest says", i)
	}
	return nil
}
