package pki

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"

	"sigmaos/api"
)

const (
	tokenPrefix   = "sigma-join-1-"
	tokenRedacted = tokenPrefix + "…redacted"
	secretSize    = 32
	tokenSum      = 4 // bytes of checksum, so that a slip of the hand gets a clear answer
	tokenBytes    = sha256.Size + secretSize + tokenSum
)

// Token admits a node to a cluster. The zero Token admits nobody.
//
// The parts are behind a function: fmt cannot call methods on the unexported
// fields of other structs, and prints what it finds there, through pointers too.
type Token struct{ parts func() *tokenParts }

type tokenParts struct {
	ca     Fingerprint
	secret [secretSize]byte
}

// NewToken makes a token with a fresh secret for the cluster of a CA.
func NewToken(ca Fingerprint) Token {
	p := tokenParts{ca: ca}
	rand.Read(p.secret[:])
	return p.token()
}

func (p tokenParts) token() Token { return Token{func() *tokenParts { return &p }} }

// ParseToken reads Text. Its errors never show what it was given.
func ParseToken(text string) (Token, error) {
	bad := func(why string) (Token, error) { return Token{}, api.E(api.Invalid, "token", "", "%s", why) }
	text = strings.TrimSpace(text)
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	switch {
	case text == "":
		return bad("it is empty")
	case !ok && strings.HasPrefix(text, "sigma-join-"):
		return bad("it is of another version; this sigmad reads " + tokenPrefix + "…")
	case !ok:
		return bad("it does not begin with " + tokenPrefix)
	case len(rest) != low32.EncodedLen(tokenBytes):
		return bad(fmt.Sprintf("it has %d characters; want %d: was it copied whole?", len(text), len(tokenPrefix)+low32.EncodedLen(tokenBytes)))
	}
	b, err := low32.DecodeString(rest)
	if err != nil {
		return bad("it has characters that no token has")
	}
	body, sum := b[:tokenBytes-tokenSum], b[tokenBytes-tokenSum:]
	if want := sha256.Sum256(body); subtle.ConstantTimeCompare(sum, want[:tokenSum]) != 1 {
		return bad("a character of it is wrong (the checksum does not fit)")
	}
	var p tokenParts
	copy(p.ca[:], body)
	copy(p.secret[:], body[sha256.Size:])
	return p.token(), nil
}

// Text is the token itself: for a file that its owner alone can read.
func (t Token) Text() string {
	if t.IsZero() {
		return ""
	}
	p := t.parts()
	b := append(p.ca[:len(p.ca):len(p.ca)], p.secret[:]...)
	sum := sha256.Sum256(b)
	return tokenPrefix + low32.EncodeToString(append(b, sum[:tokenSum]...))
}

// IsZero is true of no token.
func (t Token) IsZero() bool { return t.parts == nil }

// CA is the fingerprint that the cluster's CA must have.
func (t Token) CA() Fingerprint {
	if t.IsZero() {
		return Fingerprint{}
	}
	return t.parts().ca
}

// Equal compares in constant time.
func (t Token) Equal(u Token) bool {
	if t.IsZero() || u.IsZero() {
		return false
	}
	a, b := t.parts(), u.parts()
	return subtle.ConstantTimeCompare(a.ca[:], b.ca[:])&subtle.ConstantTimeCompare(a.secret[:], b.secret[:]) == 1
}

// Prove makes a proof that one has the secret, for these parts in this order.
func (t Token) Prove(parts ...[]byte) []byte {
	if t.IsZero() {
		return nil
	}
	own := t.parts()
	m := hmac.New(sha256.New, own.secret[:])
	m.Write([]byte(tokenPrefix))
	m.Write(own.ca[:])
	for _, p := range parts {
		m.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(p))))
		m.Write(p)
	}
	return m.Sum(nil)
}

// Proven checks a proof in constant time.
func (t Token) Proven(proof []byte, parts ...[]byte) bool {
	return !t.IsZero() && hmac.Equal(proof, t.Prove(parts...))
}

// String does not show the token.
func (t Token) String() string { return tokenRedacted }

// Format does not show the token, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { f.Write([]byte(tokenRedacted)) }

// LogValue does not show the token.
func (t Token) LogValue() slog.Value { return slog.StringValue(tokenRedacted) }

// MarshalText does not show the token; a file of it is written by WriteToken.
func (t Token) MarshalText() ([]byte, error) { return []byte(tokenRedacted), nil }
