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
	b, err := idCode.DecodeString(string(p[i:]))
	if err != nil || len(b) != 16 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(b[10:]), binary.BigEndian.Uint32(b[12:]), true
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
