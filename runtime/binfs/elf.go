package binfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var machines = map[uint16]string{3: "386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 258: "loong64"}

const (
	ptLoad, ptDynamic, ptInterp = 1, 2, 3
	maxHeaders                  = 128
	maxDynamic                  = 4096
)

// CheckELF says in words why a file cannot run as a proc. It reads the header,
// the program headers and the dynamic section's tags, all bounded: the file is a
// tenant's. What passes may still be refused by the kernel.
func CheckELF(r io.ReaderAt, size int64, arch string) error {
	var h [64]byte
	n, err := r.ReadAt(h[:], 0)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case n == 0:
		return errors.New("the file is empty")
	case n >= 2 && h[0] == '#' && h[1] == '!':
		return errors.New("a script, not a program: upload its interpreter, linked statically, and pass the script as data")
	case n < 4 || string(h[:4]) != "\x7fELF":
		return fmt.Errorf("not an ELF program (it begins with %q)", h[:min(n, 4)])
	case n < 64:
		return errors.New("a truncated ELF header")
	case h[4] != 2 || h[5] != 1:
		return fmt.Errorf("a 32-bit or big-endian ELF; this node runs %s", arch)
	}
	le := binary.LittleEndian
	if m := machines[le.Uint16(h[18:])]; m != arch {
		if m == "" {
			m = fmt.Sprintf("machine %d", le.Uint16(h[18:]))
		}
		return fmt.Errorf("a program for %s; this node runs %s (GOARCH=%s)", m, arch, arch)
	}
	if t := le.Uint16(h[16:]); t != 2 && t != 3 {
		return fmt.Errorf("an ELF file of type %d, not a program (an object file or a core?)", t)
	}
	off, entry, count := le.Uint64(h[32:]), le.Uint16(h[54:]), int(le.Uint16(h[56:]))
	if entry != 56 || count == 0 || count > maxHeaders || off > uint64(size) || off+uint64(count)*56 > uint64(size) {
		return fmt.Errorf("damaged: %d program headers of %d bytes at %d in a file of %d", count, entry, off, size)
	}
	b := make([]byte, count*56)
	if _, err := r.ReadAt(b, int64(off)); err != nil {
		return fmt.Errorf("reading its program headers: %w", err)
	}
	loads := 0
	for ; len(b) > 0; b = b[56:] {
		kind, at, length, mem := le.Uint32(b), le.Uint64(b[8:]), le.Uint64(b[32:]), le.Uint64(b[40:])
		switch kind {
		case ptInterp:
			return errDynamic
		case ptLoad:
			loads++
			if at > uint64(size) || length > uint64(size)-at || length > mem {
				return fmt.Errorf("damaged: a segment of %d bytes at %d in a file of %d", length, at, size)
			}
		case ptDynamic:
			needs, err := dynamicNeeds(r, size, at, length)
			if err != nil {
				return err
			}
			if needs {
				return errDynamic
			}
		}
	}
	if loads == 0 {
		return errors.New("damaged: no segment to load")
	}
	return nil
}

var errDynamic = errors.New("dynamically linked, and a proc has no shared libraries; link it statically: CGO_ENABLED=0 for Go, -static for C, -C target-feature=+crt-static for Rust")

// dynamicNeeds looks for DT_NEEDED.
func dynamicNeeds(r io.ReaderAt, size int64, at, length uint64) (bool, error) {
	if at > uint64(size) || length > uint64(size)-at {
		return false, errors.New("damaged: the dynamic section lies outside the file")
	}
	b := make([]byte, min(length, maxDynamic*16)/16*16)
	if _, err := r.ReadAt(b, int64(at)); err != nil && len(b) > 0 {
		return false, fmt.Errorf("reading its dynamic section: %w", err)
	}
	for ; len(b) > 0; b = b[16:] {
		switch binary.LittleEndian.Uint64(b) {
		case 0:
			return false, nil
		case 1:
			return true, nil
		}
	}
	return false, nil
}
