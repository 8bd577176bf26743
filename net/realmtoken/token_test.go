package realmtoken

import (
	"strings"
	"testing"
	"time"
)

func TestPROBES_N32_OnlyGenuineTokensPass(t *testing.T) {
	now := time.Now()
	old, fresh := NewKey(), NewKey()
	k, err := NewKeys(old)
	if err != nil {
		t.Fatal(err)
	}
	claim := Claim{Realm: "abc", User: "ann", Expires: now.Add(24 * time.Hour)}
	token := k.Issue(claim)
	if c, err := k.Check(token, now); err != nil || c.Realm != "abc" || c.User != "ann" {
		t.Fatalf("a good token: %+v, %v", c, err)
	}
	if _, err := k.Check(token, now.Add(24*time.Hour+30*time.Minute)); err != nil {
		t.Errorf("half an hour past its end, within the skew of clocks: %v", err)
	}
	other, _ := NewKeys(NewKey())
	bad := map[string]struct {
		token string
		at    time.Time
	}{
		"ended": {token, now.Add(26 * time.Hour)}, "of another cluster": {other.Issue(claim), now}, "empty": {"", now}, "no token": {"hello", now},
		"cut": {token[:len(token)-3], now}, "alg none": {"v4.local." + token[10:], now}, "v2": {"v2.public." + token[10:], now}, "10 MB": {strings.Repeat("x", 10<<20), now},
	}
	for i := 10; i < len(token); i += 9 {
		b := []byte(token)
		b[i] ^= 1
		bad["bit "+string(rune('0'+i%10))+token[i:i+1]] = struct {
			token string
			at    time.Time
		}{string(b), now}
	}
	for name, tt := range bad {
		_, err := k.Check(tt.token, tt.at)
		if err == nil {
			t.Errorf("%s: it passes", name)
		} else if len(tt.token) > 20 && strings.Contains(err.Error(), tt.token[10:20]) {
			t.Errorf("%s: the error shows the token: %v", name, err)
		}
	}
	// A replaced key signs no more, and checks until it is dropped.
	if err := k.Replace(fresh, old); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Check(token, now); err != nil {
		t.Errorf("after the key was replaced: %v", err)
	}
	k.Replace(fresh)
	if _, err := k.Check(token, now); err == nil {
		t.Error("after the key was dropped, its token passes")
	}
}

// Nothing but what was issued is accepted, and nothing makes Check panic.
func FuzzCheck(f *testing.F) {
	keys, err := NewKeys(NewKey())
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	good := keys.Issue(Claim{Realm: "r", User: "u", Expires: now.Add(time.Hour)})
	for _, s := range []string{good, "", "v4.public.", good[:len(good)-1], good + ".e30", "v4.local." + good[10:], "v4.public.e30", "v3.public.AAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := keys.Check(s, now); err == nil && (s != good || c.Realm != "r") {
			t.Fatalf("%q is accepted as %+v", s, c)
		}
	})
}
