// Package realmtoken makes and checks what a program outside shows to be
// somebody: a signed token (PASETO v4.public) that names a realm by its id and a
// user of it. Whoever holds it acts as that user until it ends; it is kept in a
// file and never appears in a command line or a log.
package realmtoken

import (
	"errors"
	"fmt"
	"sync"
	"time"

	paseto "aidanwoods.dev/go-paseto"
)

// skew is how far the clocks of two machines may be apart: a token is good for
// that much longer on both ends.
const skew = time.Hour

// maxToken bounds what is parsed.
const maxToken = 2048

// Keys signs tokens and checks them. Old keys check until they are dropped, so
// that keys can be replaced while tokens are out.
type Keys struct {
	mu   sync.RWMutex
	sign paseto.V4AsymmetricSecretKey
	old  []paseto.V4AsymmetricPublicKey
}

// NewKey makes a secret key to be kept.
func NewKey() []byte { return paseto.NewV4AsymmetricSecretKey().ExportBytes() }

// NewKeys returns keys that sign with the first secret and check with all.
func NewKeys(secrets ...[]byte) (*Keys, error) {
	k := &Keys{}
	return k, k.Replace(secrets...)
}

// Replace changes the keys of later calls.
func (k *Keys) Replace(secrets ...[]byte) error {
	if len(secrets) == 0 {
		return errors.New("realmtoken: no key")
	}
	var all []paseto.V4AsymmetricSecretKey
	for _, b := range secrets {
		s, err := paseto.NewV4AsymmetricSecretKeyFromBytes(b)
		if err != nil {
			return fmt.Errorf("realmtoken: %w", err)
		}
		all = append(all, s)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sign, k.old = all[0], nil
	for _, s := range all {
		k.old = append(k.old, s.Public())
	}
	return nil
}

// Claim is what a token says.
type Claim struct {
	Realm   string // id
	User    string
	Expires time.Time
}

// Issue signs a claim.
func (k *Keys) Issue(c Claim) string {
	t := paseto.NewToken()
	t.SetString("realm", c.Realm)
	t.SetString("user", c.User)
	t.SetExpiration(c.Expires)
	k.mu.RLock()
	defer k.mu.RUnlock()
	return t.V4Sign(k.sign, nil)
}

var errBad = errors.New("the realm's token is not valid here: it is of another cluster, damaged, or its key was replaced; ask the operator for a new one (sigmactl realm token)")

// Check returns what a token says if it is genuine and has not ended. Its
// errors never show the token.
func (k *Keys) Check(token string, now time.Time) (Claim, error) {
	if len(token) > maxToken {
		return Claim{}, errBad
	}
	k.mu.RLock()
	keys := k.old
	k.mu.RUnlock()
	for _, pub := range keys {
		t, err := paseto.NewParserWithoutExpiryCheck().ParseV4Public(pub, token, nil)
		if err != nil {
			continue
		}
		var c Claim
		var err1, err2, err3 error
		c.Realm, err1 = t.GetString("realm")
		c.User, err2 = t.GetString("user")
		c.Expires, err3 = t.GetExpiration()
		if errors.Join(err1, err2, err3) != nil {
			return Claim{}, errBad
		}
		if now.After(c.Expires.Add(skew)) {
			return Claim{}, fmt.Errorf("the realm's token ended on %s; ask the operator for a new one (sigmactl realm token)", c.Expires.UTC().Format(time.DateOnly))
		}
		return c, nil
	}
	return Claim{}, errBad
}
