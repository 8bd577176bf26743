package roles

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/named"
)

const (
	backupPiece = 128 << 10
	maxBackup   = 16 << 30
)

// restoring orders what arrives for a restore: one at a time.
type restoring struct {
	mu   sync.Mutex
	id   string
	size int64
}

// backup sends the realms' state in pieces.
func (s *System) backup(ctx context.Context, send func(any, []byte) error) (any, error) {
	w := &pieces{send: send}
	info, err := named.Backup(ctx, s.etcd, w, named.BackupInfo{Cluster: s.clusterID, Sigmad: s.Version})
	if err == nil {
		err = w.flush()
	}
	return api.BackupInfo(info), err
}

// pieces cuts what is written into answers.
type pieces struct {
	send func(any, []byte) error
	buf  []byte
}

func (p *pieces) Write(b []byte) (int, error) {
	p.buf = append(p.buf, b...)
	for len(p.buf) >= backupPiece {
		if err := p.send(struct{}{}, p.buf[:backupPiece]); err != nil {
			return 0, err
		}
		p.buf = append(p.buf[:0], p.buf[backupPiece:]...)
	}
	return len(b), nil
}

func (p *pieces) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	return p.send(struct{}{}, p.buf)
}

func (s *System) restorePath() string { return filepath.Join(s.Config.DataDir, "restore.part") }

// restorePart takes a piece of a backup; the first one has no id yet.
func (s *System) restorePart(r api.RestorePart, data []byte) (api.RestorePart, error) {
	s.restore.mu.Lock()
	defer s.restore.mu.Unlock()
	flags := os.O_WRONLY | os.O_APPEND
	if r.ID == "" {
		r.ID = rand.Text()
		s.restore.id, s.restore.size = r.ID, 0
		flags |= os.O_CREATE | os.O_TRUNC
	}
	if r.ID != s.restore.id {
		return r, api.E(api.Conflict, "restore", "", "another restore has begun meanwhile")
	}
	if s.restore.size += int64(len(data)); s.restore.size > maxBackup {
		return r, api.E(api.TooLarge, "restore", "", "more than %d bytes", int64(maxBackup))
	}
	f, err := os.OpenFile(s.restorePath(), flags, 0o600)
	if err != nil {
		return r, api.E(api.Unavailable, "restore", "", "%v", err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return r, api.E(api.Unavailable, "restore", "", "%v (is the disk of the node full?)", err)
	}
	return r, nil
}

// restoreEnd checks what came as a whole and brings it back.
func (s *System) restoreEnd(ctx context.Context, r api.RestoreRequest) (api.BackupInfo, error) {
	s.restore.mu.Lock()
	defer s.restore.mu.Unlock()
	if r.ID == "" || r.ID != s.restore.id {
		return api.BackupInfo{}, api.E(api.Conflict, "restore", "", "another restore has begun meanwhile")
	}
	s.restore.id = ""
	defer os.Remove(s.restorePath())
	f, err := os.Open(s.restorePath())
	if err != nil {
		return api.BackupInfo{}, api.E(api.Unavailable, "restore", "", "%v", err)
	}
	defer f.Close()
	if _, err := named.ReadBackup(f, nil); err != nil { // before anything is touched
		return api.BackupInfo{}, err
	}
	if !r.Replace {
		if err := s.checkFresh(ctx); err != nil {
			return api.BackupInfo{}, err
		}
	}
	for _, realm := range s.Realms.List() {
		if err := s.Schedd.RemoveRealm(ctx, realm.Name); err != nil {
			return api.BackupInfo{}, err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return api.BackupInfo{}, err
	}
	info, err := named.Restore(ctx, s.etcd, f)
	if err == nil {
		s.event("", api.Event{Kind: api.EventRestored, User: "operator", Detail: "cluster " + info.Cluster})
		s.Log.Info("restored", "cluster", info.Cluster, "of", info.Time, "keys", info.Keys)
	}
	return api.BackupInfo(info), err
}

// checkFresh refuses to touch realms that somebody uses.
func (s *System) checkFresh(ctx context.Context) error {
	used := func(what, name string) error {
		return api.E(api.Conflict, "restore", "", "this cluster is in use: %s %s. A restore belongs into a fresh cluster; --replace first removes every realm there is, with its procs and files", what, name)
	}
	for _, r := range s.Realms.List() {
		if r.Name != DefaultRealm {
			return used("it has the realm", r.Name)
		}
		clean, err := named.Untouched(ctx, s.etcd, r.ID)
		if err != nil {
			return api.E(api.Unavailable, "restore", "", "%v", err)
		}
		if !clean {
			return used("there are files in the realm", r.Name)
		}
	}
	list, err := named.ListInit(ctx, s.etcd, "")
	if err == nil && len(list) > 0 {
		err = used("it has the registered proc", list[0].Init.Name)
	}
	return err
}
