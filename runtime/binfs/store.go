package binfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Source is where programs come from. What it returns is verified.
type Source interface {
	// Tree says, too, which chunks a start touches; none where that is not known.
	Tree(ctx context.Context, realm string, d Digest) (Tree, Profile, error)
	Chunk(ctx context.Context, realm string, d Digest, t Tree, i int, buf []byte) ([]byte, error)
}

// Store is the local disk store: dir/REALM/DIGEST and DIGEST.tree. A realm sees
// its own programs only, also when another has the same bytes.
type Store struct{ dir string }

var realmRule = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// OpenStore makes dir and removes what an interrupted upload left.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("binfs: %w", err)
	}
	for _, pattern := range []string{"upload-*", "*/put-*"} {
		left, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, f := range left {
			os.Remove(f)
		}
	}
	return &Store{dir: dir}, nil
}

// Dir is the store's directory.
func (s *Store) Dir() string { return s.dir }

// Admit makes a realm's directory, so that what comes from elsewhere for its procs
// is kept: nothing that is fetched makes one, or what is still under way when the
// realm is removed would leave one behind.
func (s *Store) Admit(realm string) error {
	if !realmRule.MatchString(realm) {
		return fmt.Errorf("binfs: %q is no realm id", realm)
	}
	if err := os.Mkdir(filepath.Join(s.dir, realm), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("binfs: %w", err)
	}
	return nil
}

// Path is the file of a program.
func (s *Store) Path(realm string, d Digest) string {
	return filepath.Join(s.dir, realm, string(d))
}

// Has reports whether the realm has the program, whole.
func (s *Store) Has(realm string, d Digest) bool {
	_, err := os.Stat(s.Path(realm, d) + ".tree")
	return err == nil
}

// Put stores a program; it appears only when complete and, where want is not
// "", only when it is want.
func (s *Store) Put(realm string, r io.Reader, want Digest, max int64) (d Digest, err error) {
	if !realmRule.MatchString(realm) {
		return "", fmt.Errorf("binfs: %q is no realm id", realm)
	}
	dir := filepath.Join(s.dir, realm)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("binfs: %w", err)
	}
	f, err := os.CreateTemp(dir, "put-*")
	if err != nil {
		return "", fmt.Errorf("binfs: %w", err)
	}
	defer func() {
		f.Close()
		os.Remove(f.Name())
	}()
	t, err := Sum(io.TeeReader(io.LimitReader(r, max+1), f))
	if err != nil {
		return "", fmt.Errorf("binfs: storing a program: %w", err)
	}
	d = t.Digest()
	switch {
	case t.Size > max:
		return "", fmt.Errorf("binfs: a program larger than %d bytes", max)
	case want != "" && d != want:
		return "", fmt.Errorf("binfs: the content is %s, not the %s that was announced", d, want)
	}
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("binfs: %w", err)
	}
	if err := os.Rename(f.Name(), s.Path(realm, d)); err != nil {
		return "", fmt.Errorf("binfs: %w", err)
	}
	// The tree comes last: it is what makes the program exist.
	tmp := filepath.Join(dir, "put-tree-"+string(d))
	if err := os.WriteFile(tmp, t.Marshal(), 0o600); err != nil {
		os.Remove(tmp)
		return "", fmt.Errorf("binfs: %w", err)
	}
	return d, os.Rename(tmp, s.Path(realm, d)+".tree")
}

// Tree reads a program's digest tree and checks it.
func (s *Store) Tree(_ context.Context, realm string, d Digest) (Tree, error) {
	b, err := os.ReadFile(s.Path(realm, d) + ".tree")
	if err != nil {
		return Tree{}, err
	}
	return UnmarshalTree(b, d)
}

// Chunk reads chunk i, unverified, into buf.
func (s *Store) Chunk(_ context.Context, realm string, d Digest, t Tree, i int, buf []byte) ([]byte, error) {
	f, err := os.Open(s.Path(realm, d))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n := min(int64(ChunkSize), t.Size-int64(i)*ChunkSize)
	if n <= 0 {
		return nil, io.EOF
	}
	_, err = f.ReadAt(buf[:n], int64(i)*ChunkSize)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return buf[:n], err
}

// List returns a realm's programs.
func (s *Store) List(realm string) ([]Digest, error) {
	list, err := os.ReadDir(filepath.Join(s.dir, realm))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var out []Digest
	for _, e := range list {
		if n, ok := strings.CutSuffix(e.Name(), ".tree"); ok {
			out = append(out, Digest(n))
		}
	}
	return out, err
}

// RemoveRealm forgets a realm's programs.
func (s *Store) RemoveRealm(realm string) error {
	if !realmRule.MatchString(realm) {
		return fmt.Errorf("binfs: %q is no realm id", realm)
	}
	var err error
	for range removeTries { // a fetch that is under way may write while we remove
		if err = os.RemoveAll(filepath.Join(s.dir, realm)); err == nil {
			break
		}
		time.Sleep(removePause)
	}
	return err
}

const (
	removeTries = 10
	removePause = 10 * time.Millisecond
)
