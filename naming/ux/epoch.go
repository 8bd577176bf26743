package ux

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigmaos/api"
)

// epochStep is how many epochs one write of the file gives out.
const epochStep = 64

// epochText is the file: always as long, so that it is written over in place
// and can be so on a full disk. It is shorter than a sector, which disks write
// whole.
func epochText(reserve uint64) []byte { return fmt.Appendf(nil, "1 %020d\n", reserve) }

// nextEpoch gives out a number that was never given out from this directory.
func (s *Server) nextEpoch() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch+1 >= s.reserve {
		if err := overwrite(filepath.Join(s.cfg.Dir, "epoch"), epochText(s.reserve+epochStep)); err != nil {
			return 0, err
		}
		s.reserve += epochStep
	}
	s.epoch++
	return s.epoch, nil
}

func overwrite(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Sync()
}

// readEpoch goes on behind everything that was given out before.
func (s *Server) readEpoch() error {
	name := filepath.Join(s.cfg.Dir, "epoch")
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		// Files without it: versions might go back.
		if left, err := readNames(s.realmsDir); err != nil || len(left) > 0 {
			return api.E(api.Unavailable, "ux", name, "the file is missing, but there are realms; restore it, or remove everything in %s", s.cfg.Dir)
		}
		b = epochText(0)
		err = createFile(s.cfg.Dir, "epoch", b)
	}
	if err != nil {
		return s.fail("ux", name, err)
	}
	version := 0
	if _, err := fmt.Sscanf(string(b), "%d %d\n", &version, &s.reserve); err != nil || version != 1 || len(b) != len(epochText(0)) {
		return api.E(api.Unavailable, "ux", name, "the file is damaged or of a later version; restore it, or remove everything in %s", s.cfg.Dir)
	}
	s.epoch = s.reserve
	return nil
}

// createFile makes a small file of our own, whole or not at all.
func createFile(dir, name string, data []byte) error {
	tmp := filepath.Join(dir, name+".new")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	f.Close()
	if err == nil {
		err = os.Rename(tmp, filepath.Join(dir, name))
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
