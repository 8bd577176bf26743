package pki

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
)

func TestIdentitySurvivesRestart(t *testing.T) {
	clk := clock.NewFake(start)
	dir := filepath.Join(t.TempDir(), "a", "pki")
	i, err := LoadOrCreate(dir, clk)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := i.Peer(); ok || i.Trust() != nil || !i.RenewAt().IsZero() {
		t.Error("a fresh identity says it is somebody")
	}
	csr, _ := i.CSR()
	os.WriteFile(filepath.Join(dir, ".node.pem-123"), []byte("half"), 0o600) // of a killed write
	if i, err = LoadOrCreate(dir, clk); err != nil {
		t.Fatal(err)
	}
	a := authority(t, "c1", start)
	chain, err := a.Sign(csr, "n1", 9, start)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Install(chain, trustOf(t, a).Marshal()); err != nil {
		t.Fatalf("the key of before the restart is gone: %v", err)
	}
	again, err := LoadOrCreate(dir, clk)
	if err != nil {
		t.Fatal(err)
	}
	want := Peer{Name: "n1", Cluster: "c1", Number: 9}
	if p, ok := again.Peer(); !ok || p != want || !again.Trust().Has(a.Fingerprint()) || string(again.Chain()) != string(chain) {
		t.Errorf("after a restart: %v %v, want %v and the same chain", p, ok, want)
	}
	names, _ := os.ReadDir(dir)
	for _, e := range names {
		info, _ := e.Info()
		if info.Mode().Perm() != 0o600 || strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
	if at := again.RenewAt(); at.Before(start.Add(nodeLife/2)) || at.After(start.Add(nodeLife*3/4)) {
		t.Errorf("RenewAt = %v for a certificate of %v", at, start)
	}
}

func TestIdentityFilesAreChecked(t *testing.T) {
	clk := clock.NewFake(start)
	a := authority(t, "c1", start)
	for _, c := range []struct {
		name  string
		spoil func(dir string)
		want  api.Kind
	}{
		{"key readable by others", func(d string) { os.Chmod(filepath.Join(d, "node.pem"), 0o644) }, api.Denied},
		{"trust writable by others", func(d string) { os.Chmod(filepath.Join(d, "trust.pem"), 0o622) }, api.Denied},
		{"key file cut", func(d string) { os.Truncate(filepath.Join(d, "node.pem"), 100) }, api.Invalid},
		{"key file empty", func(d string) { os.Truncate(filepath.Join(d, "node.pem"), 0) }, api.Invalid},
		{"trust gone", func(d string) { os.Remove(filepath.Join(d, "trust.pem")) }, api.Invalid},
	} {
		i := member(t, clk, a, "n1", 1)
		before, _ := os.ReadFile(i.nodePath())
		c.spoil(i.dir)
		spoilt, _ := os.ReadFile(i.nodePath())
		_, err := LoadOrCreate(i.dir, clk)
		wantKind(t, "LoadOrCreate, "+c.name, err, c.want)
		if after, _ := os.ReadFile(i.nodePath()); string(after) != string(spoilt) {
			t.Errorf("%s: the file was overwritten (%d bytes, before %d)", c.name, len(after), len(before))
		}
	}
}

func TestInstallRefusesWhatDoesNotFit(t *testing.T) {
	clk := clock.NewFake(start)
	a, b, foreign := authority(t, "c1", start), authority(t, "c1", start), authority(t, "c2", start)
	i, other := member(t, clk, a, "n1", 1), member(t, clk, a, "n2", 2)
	csr, _ := i.CSR()
	sign := func(a *Authority, at time.Time) []byte {
		chain, err := a.Sign(csr, "n1", 1, at)
		if err != nil {
			t.Fatal(err)
		}
		return chain
	}
	for _, c := range []struct {
		name         string
		chain, trust []byte
		want         api.Kind
	}{
		{"certificate of another key", other.Chain(), trustOf(t, a).Marshal(), api.Conflict},
		{"signed by a CA outside the trust", sign(b, start), trustOf(t, a).Marshal(), api.Denied},
		{"another cluster", sign(foreign, start), trustOf(t, foreign).Marshal(), api.Conflict},
		{"expired", sign(a, start.Add(-2*nodeLife)), trustOf(t, a).Marshal(), api.Denied},
		{"garbage", []byte("x"), trustOf(t, a).Marshal(), api.Invalid},
		{"no trust", sign(a, start), nil, api.Invalid},
	} {
		before := i.Chain()
		wantKind(t, "Install, "+c.name, i.Install(c.chain, c.trust), c.want)
		if string(i.Chain()) != string(before) {
			t.Errorf("%s: the old certificate is gone", c.name)
		}
	}
	wantKind(t, "SetTrust of another cluster", i.SetTrust(trustOf(t, foreign).Marshal()), api.Conflict)
	wantKind(t, "SetTrust before the first certificate", identity(t, clk).SetTrust(trustOf(t, a).Marshal()), api.Invalid)
}

func TestRekeyTakesEffectWithItsCertificate(t *testing.T) {
	clk := clock.NewFake(start)
	a := authority(t, "c1", start)
	i := member(t, clk, a, "n1", 1)
	old := i.now.Load().key
	if err := i.Rekey(); err != nil {
		t.Fatal(err)
	}
	if !samePublic(i.now.Load().key.Public(), old.Public()) {
		t.Error("the old key is gone before there is a certificate for the new one")
	}
	install(t, i, a, "n1", 1, trustOf(t, a))
	again, err := LoadOrCreate(i.dir, clk)
	if err != nil {
		t.Fatal(err)
	}
	if k := again.now.Load().key.Public(); samePublic(k, old.Public()) || !samePublic(k, i.now.Load().key.Public()) {
		t.Error("after Rekey and Install the key on disk is not the new one")
	}
}

func TestHandshakes(t *testing.T) {
	clk := clock.NewFake(start)
	longAgo := start.Add(-2 * nodeLife)
	a, foreign := authority(t, "c1", longAgo), authority(t, "c2", start)
	n1, n2 := member(t, clk, a, "n1", 1), member(t, clk, a, "n2", 2)
	stranger := member(t, clk, foreign, "n2", 2)
	stale := member(t, clock.NewFake(longAgo), a, "n9", 9)
	stale.clk = clk
	for _, c := range []struct {
		name           string
		server, client *tls.Config
		wantServer     string
		wantClient     string
	}{
		{"two nodes", n1.Server("p"), n2.Client("n1", "p"), "", ""},
		{"any node", n1.Server("p"), n2.Client("", "p"), "", ""},
		{"wrong node", n1.Server("p"), n2.Client("n3", "p"), "bad certificate", "at this address is node n1"},
		{"client that expired", n1.Server("p"), stale.Client("n1", "p"), "renew it", "bad certificate"},
		{"server that expired", stale.Server("p"), n2.Client("n9", "p"), "bad certificate", "renew it"},
		{"foreign client", n1.Server("p"), stranger.Client("n1", "p"), "bad certificate", "no CA of cluster c2"},
		{"client without certificate", n1.Server("p"), identity(t, clk).Client("n1", "p"), "bad certificate", "no certificate yet"},
		{"client that checks nothing", n1.Server("p"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"p"}}, "didn't provide a certificate", "certificate required"},
		{"server without certificate", identity(t, clk).Server("p"), n2.Client("n1", "p"), "no certificate yet", "internal error"},
		{"other protocol", n1.Server("p"), n2.Client("n1", "q"), "no application protocol", "no application protocol"},
		{"TLS 1.2", n1.Server("p"), func() *tls.Config {
			c := n2.Client("n1", "p")
			c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
			return c
		}(), "unsupported version", "protocol version not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := connect(t, c.server, c.client)
			for side, e := range map[string]struct {
				err  error
				want string
			}{"server": {l.srvErr, c.wantServer}, "client": {l.clientErr, c.wantClient}} {
				text := fmt.Sprint(e.err)
				text = strings.ReplaceAll(text, "client requested unsupported application protocols", "no application protocol")
				text = strings.ReplaceAll(text, "client offered only unsupported versions", "unsupported version")
				if e.want == "" && e.err != nil || e.want != "" && !strings.Contains(text, e.want) {
					t.Errorf("%s: %v, want %q", side, e.err, e.want)
				}
			}
			if c.wantServer+c.wantClient != "" {
				return
			}
			if p, err := PeerOf(l.server.ConnectionState()); err != nil || p != (Peer{"n2", "c1", 2}) {
				t.Errorf("server sees %v, %v; want n2", p, err)
			}
			if p, err := PeerOf(l.client.ConnectionState()); err != nil || p != (Peer{"n1", "c1", 1}) {
				t.Errorf("client sees %v, %v; want n1", p, err)
			}
		})
	}
	if _, err := PeerOf(tls.ConnectionState{}); api.KindOf(err) != api.Denied {
		t.Errorf("PeerOf without a handshake: %v", err)
	}
}

// The CA is replaced step by step under nodes that keep talking: nobody refuses
// anybody at any step, standing connections never end, and after the last step
// the old CA is worth nothing.
func TestRotationOfTheCAWithLiveConnections(t *testing.T) {
	clk := clock.NewFake(start)
	old, fresh := authority(t, "c1", start), authority(t, "c1", start)
	n1, n2, asleep := member(t, clk, old, "n1", 1), member(t, clk, old, "n2", 2), member(t, clk, old, "n3", 3)
	// The configurations are made once, as a node's port makes them.
	server, client := n1.Server("p"), n2.Client("n1", "p")
	var live []link
	check := func(step string) {
		t.Helper()
		l := connect(t, server, client)
		if l.clientErr != nil || l.srvErr != nil {
			t.Fatalf("%s: new connection: client %v, server %v", step, l.clientErr, l.srvErr)
		}
		for _, l := range append(live, l) {
			l.echo(t, step)
		}
		live = append(live, l)
	}
	check("before")
	both := trustOf(t, old, fresh)
	for _, n := range []*Identity{n2, n1} {
		if err := n.SetTrust(both.Marshal()); err != nil {
			t.Fatal(err)
		}
		check("new CA added to the trust of one more")
	}
	for name, n := range map[string]*Identity{"n1": n1, "n2": n2} {
		p, _ := n.Peer()
		install(t, n, fresh, name, p.Number, both)
		check("new certificate for " + name)
	}
	only := trustOf(t, fresh)
	for _, n := range []*Identity{n1, n2} {
		if err := n.SetTrust(only.Marshal()); err != nil {
			t.Fatal(err)
		}
		check("old CA dropped by one more")
	}
	if l := connect(t, server, asleep.Client("n1", "p")); l.clientErr == nil || l.srvErr == nil {
		t.Error("a certificate of the dropped CA is still good")
	}
	again, err := LoadOrCreate(n1.dir, clk)
	if err != nil || again.Trust().Has(old.Fingerprint()) || !again.Trust().Has(fresh.Fingerprint()) {
		t.Errorf("the trust on disk is not the new one: %v", err)
	}
}

func TestTokenFindsItsCluster(t *testing.T) {
	clk := clock.NewFake(start)
	a, foreign := authority(t, "c1", start), authority(t, "c2", start)
	n1, joiner := member(t, clk, a, "n1", 1), identity(t, clk)
	tok := NewToken(a.Fingerprint())
	if l := connect(t, n1.Open("j"), joiner.Join(tok, "j")); l.clientErr != nil || l.srvErr != nil {
		t.Errorf("the right token: client %v, server %v", l.clientErr, l.srvErr)
	}
	l := connect(t, n1.Open("j"), joiner.Join(NewToken(foreign.Fingerprint()), "j"))
	if l.clientErr == nil || !strings.Contains(l.clientErr.Error(), "another cluster") {
		t.Errorf("another cluster's token: %v", l.clientErr)
	}
	// A man in the middle can show the real CA's certificate, but has no key that
	// it signed.
	mitm := member(t, clk, foreign, "n1", 1)
	c := mitm.Open("j")
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := mitm.certificate()
		if err != nil {
			return nil, err
		}
		shown := *cert
		shown.Certificate = [][]byte{cert.Certificate[0], a.Certificate().Raw}
		return &shown, nil
	}
	l = connect(t, c, joiner.Join(tok, "j"))
	if l.clientErr == nil || !strings.Contains(l.clientErr.Error(), "signed by no CA") {
		t.Errorf("a foreign certificate beside the right CA: %v", l.clientErr)
	}
}
