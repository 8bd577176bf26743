package binfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// evict removes the programs of dir that were written to longest ago until the
// rest fits into quota; keep is the one in use now, which goes last. Running
// procs keep their pages; what they still lack comes from elsewhere again.
func evict(dir string, quota int64, keep string) error {
	if quota <= 0 {
		return nil
	}
	files, total, err := programsIn(dir)
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b cachedFile) int {
		switch {
		case a.path == keep && b.path != keep:
			return 1
		case b.path == keep && a.path != keep:
			return -1
		case a.when < b.when:
			return -1
		}
		return 1
	})
	var errs []error
	for _, f := range files {
		if total <= quota {
			break
		}
		for _, p := range []string{f.path + ".tree", f.path} { // without a tree it is not there
			if err := os.Remove(p); err != nil && !isNotExist(err) {
				errs = append(errs, err)
			}
		}
		total -= f.bytes
	}
	return errors.Join(errs...)
}

// cachedFile is a program in a cache.
type cachedFile struct {
	path  string
	bytes int64 // without the holes
	when  int64
}

func programsIn(dir string) (files []cachedFile, total int64, err error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".tree") || !strings.HasPrefix(e.Name(), digestPrefix) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		f := cachedFile{path: filepath.Join(dir, e.Name()), when: info.ModTime().UnixNano()}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			f.bytes = st.Blocks * 512
		}
		total += f.bytes
		files = append(files, f)
	}
	return files, total, nil
}
