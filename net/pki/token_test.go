package pki

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sigmaos/api"
)

func TestTokenTextRoundTrip(t *testing.T) {
	a := authority(t, "c1", start)
	tok := NewToken(a.Fingerprint())
	got, err := ParseToken(" " + tok.Text() + "\n")
	if err != nil || !got.Equal(tok) || got.CA() != a.Fingerprint() {
		t.Fatalf("ParseToken(Text()) = equal %v, %v", got.Equal(tok), err)
	}
	if other := NewToken(a.Fingerprint()); other.Equal(tok) {
		t.Error("two new tokens of one CA are equal")
	}
	if (Token{}).Equal(Token{}) {
		t.Error("no token equals no token: it would admit everybody")
	}
}

// A bad token gets a reason that helps, and the reason shows nothing of it.
func TestTokenErrorsNeverShowTheToken(t *testing.T) {
	text := NewToken(Fingerprint{1, 2, 3}).Text()
	swap := func(s string, i int) string {
		c := byte('a')
		if s[i] == 'a' {
			c = 'b'
		}
		return s[:i] + string(c) + s[i+1:]
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "empty"},
		{"spaces", " \n\t", "empty"},
		{"something else", "s3cr3t-" + text[13:], "does not begin with"},
		{"version 2", strings.Replace(text, "-1-", "-2-", 1), "another version"},
		{"cut", text[:len(text)-5], "copied whole"},
		{"longer", text + text[13:], "copied whole"},
		{"capitals", text[:20] + strings.ToUpper(text[20:]), "no token has"},
		{"one character wrong", swap(text, 40), "checksum"},
		{"checksum wrong", swap(text, len(text)-3), "checksum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseToken(c.text)
			wantKind(t, "ParseToken", err, api.Invalid)
			if err == nil || !strings.Contains(err.Error(), c.want) || !got.IsZero() {
				t.Fatalf("ParseToken = %v, want a text with %q", err, c.want)
			}
			for i := 0; i+8 <= len(c.text); i++ {
				if piece := c.text[i : i+8]; strings.Contains(err.Error(), piece) && !strings.Contains(tokenPrefix, piece) {
					t.Fatalf("the error shows %q of the token", piece)
				}
			}
		})
	}
}

// Whatever way a token comes into a message, it does not come out.
func TestTokenIsRedactedEverywhere(t *testing.T) {
	tok := NewToken(Fingerprint{7})
	raw := fmt.Sprintf("%x", tok.parts().secret[:4])
	type holder struct {
		Exported Token
		hidden   Token
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "token", tok, "in", holder{tok, tok})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "token", tok, "in", holder{tok, tok})
	js, err := json.Marshal(map[string]any{"token": tok, "in": holder{tok, tok}})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{"slog": log.String(), "json": string(js), "String": tok.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%08b"} {
		out["fmt "+verb] = fmt.Sprintf(verb, tok) + fmt.Sprintf(verb, &tok) + fmt.Sprintf(verb, holder{tok, tok}) + fmt.Sprintf(verb, []Token{tok})
	}
	for where, s := range out {
		if strings.Contains(s, tok.Text()[20:28]) || strings.Contains(strings.ToLower(s), raw) || strings.Contains(s, fmt.Sprint(tok.parts().secret[0], " ", tok.parts().secret[1], " ", tok.parts().secret[2])) {
			t.Errorf("%s shows the token: %s", where, s)
		}
	}
	if !strings.Contains(tok.String(), "redacted") {
		t.Errorf("String() = %q", tok.String())
	}
}

func TestTokenProof(t *testing.T) {
	tok, other := NewToken(Fingerprint{1}), NewToken(Fingerprint{1})
	proof := tok.Prove([]byte("nonce"), []byte("csr"))
	for _, c := range []struct {
		name  string
		tok   Token
		proof []byte
		parts []string
		want  bool
	}{
		{"right", tok, proof, []string{"nonce", "csr"}, true},
		{"other nonce", tok, proof, []string{"nonc2", "csr"}, false},
		{"bytes moved between parts", tok, proof, []string{"noncec", "sr"}, false},
		{"parts joined", tok, proof, []string{"noncecsr"}, false},
		{"other token", other, proof, []string{"nonce", "csr"}, false},
		{"cut", tok, proof[:31], []string{"nonce", "csr"}, false},
		{"empty", tok, nil, []string{"nonce", "csr"}, false},
		{"no token", Token{}, nil, []string{"nonce", "csr"}, false},
	} {
		var parts [][]byte
		for _, p := range c.parts {
			parts = append(parts, []byte(p))
		}
		if got := c.tok.Proven(c.proof, parts...); got != c.want {
			t.Errorf("%s: Proven = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTokenFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	tok := NewToken(Fingerprint{5})
	if err := WriteToken(path, tok); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if got, err := ReadToken(path); err != nil || !got.Equal(tok) {
		t.Fatalf("ReadToken: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o610} {
		os.Chmod(path, mode)
		_, err := ReadToken(path)
		wantKind(t, fmt.Sprintf("ReadToken, mode %04o", mode), err, api.Denied)
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) || strings.Contains(err.Error(), tok.Text()[20:28]) {
			t.Errorf("mode %04o: %v; want what to do, and nothing of the token", mode, err)
		}
	}
	os.Chmod(path, 0o600)
	os.WriteFile(path, []byte("hunter2hunter2"), 0o600)
	if _, err := ReadToken(path); err == nil || strings.Contains(err.Error(), "hunter") || !strings.Contains(err.Error(), path) {
		t.Errorf("ReadToken of something else: %v", err)
	}
	_, err = ReadToken(filepath.Join(dir, "none"))
	wantKind(t, "ReadToken of no file", err, api.NotFound)
	_, err = ReadToken(dir)
	wantKind(t, "ReadToken of a directory", err, api.Invalid)
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ReadToken(fifo)
	wantKind(t, "ReadToken of a FIFO", err, api.Invalid)
	if err := WriteToken(path, Token{}); err == nil {
		t.Error("WriteToken wrote no token")
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(NewToken(Fingerprint{9}).Text())
	f.Add("sigma-join-1-")
	f.Add("sigma-join-1-\x00\xff")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err == nil && tok.Text() != strings.TrimSpace(s) {
			t.Fatalf("%q parsed and was written as another token", s)
		}
	})
}
