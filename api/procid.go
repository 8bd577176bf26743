package api

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
)

// ProcID names one run of one program for ever: NAME-XXXXXXXXXXXXXXXXXXXXXXXXXX,
// at most 20 readable bytes and 26 of base32 which hold the home node (16
// bits), its boot (32) and chance (80). People may use any unique prefix.
type ProcID string

const (
	idRandom  = 26
	idNameMax = 20
)

var idCode = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewProcID makes an id at its home node.
func NewProcID(name string, node uint16, boot uint32) ProcID {
	var b [16]byte
	rand.Read(b[6:])
	// The random part comes first in the text so that short prefixes tell procs
	// apart; home and boot follow.
	copy(b[0:10], b[6:16])
	binary.BigEndian.PutUint16(b[10:], node)
	binary.BigEndian.PutUint32(b[12:], boot)
	return ProcID(idName(name) + "-" + idCode.EncodeToString(b[:]))
}

// Home returns the node and boot that gave the id out; ok is false for
// anything that is not a whole id.
func (p ProcID) Home() (node uint16, boot uint32, ok bool) {
	i := len(p) - idRandom
	if i < 2 || i > idNameMax+1 || p[i-1] != '-' {
		return 0, 0, false
	}
	// The last ten letters hold these 48 bits and two of no meaning. This is on the
	// way of every message about a proc, so nothing is allocated.
	var low uint64
	for j := i; j < len(p); j++ {
		v := idValue(p[j])
		if v > 31 {
			return 0, 0, false
		}
		low = low<<5 | v
	}
	low >>= 2
	return uint16(low >> 32), uint32(low), true
}

// idValue is that of a letter of an id; above 31 it is none.
func idValue(c byte) uint64 {
	switch {
	case c >= 'a' && c <= 'z':
		return uint64(c - 'a')
	case c >= '2' && c <= '7':
		return uint64(c-'2') + 26
	}
	return 32
}

// Short is the readable part and four letters: what a person is shown when no
// other proc of the realm shares them.
func (p ProcID) Short() string {
	i := len(p) - idRandom
	if i < 2 {
		return string(p)
	}
	return string(p[:i+4])
}

// idName turns a program's path into the readable part of an id.
func idName(s string) string {
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		s = s[i+1:]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == '-', r == '_', r == '.', r == ' ':
			return '-'
		}
		return -1
	}, s)
	if len(s) > idNameMax {
		s = s[:idNameMax]
	}
	if s = strings.Trim(s, "-"); s == "" {
		return "proc"
	}
	return s
}
