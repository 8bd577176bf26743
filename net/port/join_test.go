package port

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/clock"
	"sigmaos/net/pki"
)

const joinDelay = 20 * time.Millisecond

// door is a node that admits others.
type door struct {
	*Port
	t      *testing.T
	clu    *cluster
	admit  *testAdmitter
	mu     sync.Mutex
	tokens []pki.Token
}

func openDoor(t *testing.T, edit func(*Config, *JoinConfig)) *door {
	c := newCluster(t, "c1")
	d := &door{t: t, clu: c, admit: &testAdmitter{ca: c.ca, trust: c.trust().Marshal(), keys: make(map[string]*ecdsa.PublicKey), extra: []byte("gossip secret")}}
	d.tokens = []pki.Token{pki.NewToken(c.ca.Fingerprint())}
	jc := JoinConfig{Admitter: d.admit, Version: 5, Delay: joinDelay, Tokens: func(context.Context) ([]pki.Token, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.tokens) == 0 {
			return nil, api.E(api.Unavailable, "tokens", "", "no quorum, and a secret 4711 in the text")
		}
		return d.tokens, nil
	}}
	d.Port = listen(t, c.node("n1", 1), func(cfg *Config) {
		if edit != nil {
			edit(cfg, &jc)
		}
	})
	if _, err := d.ServeJoin(jc); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *door) setTokens(ts ...pki.Token) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tokens = ts
}

func (d *door) calls() int {
	d.admit.mu.Lock()
	defer d.admit.mu.Unlock()
	return d.admit.called
}

func (d *door) addr() string { return d.Addr().String() }

func TestJoin(t *testing.T) {
	d := openDoor(t, nil)
	id := stranger(t, clock.Real())
	a, err := Join(t.Context(), d.addr(), d.tokens[0], id, "n7", 5)
	if err != nil {
		t.Fatal(err)
	}
	wantMembers := []Member{{"n1", 1, "127.0.0.1:7471"}, {"n2", 2, "[::1]:7472"}}
	if a.Cluster != "c1" || a.Number != 101 || string(a.Extra) != "gossip secret" || !reflect.DeepEqual(a.Members, wantMembers) {
		t.Errorf("Join = %+v", a)
	}
	if p, ok := id.Peer(); !ok || p != (pki.Peer{Name: "n7", Cluster: "c1", Number: 101}) {
		t.Errorf("after Join the identity is %v %v", p, ok)
	}
	// It is a member: it can dial, and be dialled.
	handle(t, d.Port, "svc/1", echo)
	conn, err := Dial(t.Context(), id, d.addr(), "n1", "svc/1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	roundTrip(t, conn)
	// Asking again with the same key, as after a crash, is no conflict.
	if _, err := Join(t.Context(), d.addr(), d.tokens[0], id, "n7", 5); err != nil {
		t.Errorf("joining twice: %v", err)
	}
	// Both tokens are good while the token is being replaced.
	old, fresh := d.tokens[0], pki.NewToken(d.clu.ca.Fingerprint())
	d.setTokens(fresh, old)
	for i, tok := range []pki.Token{old, fresh} {
		if _, err := Join(t.Context(), d.addr(), tok, stranger(t, clock.Real()), fmt.Sprintf("m%d", i), 5); err != nil {
			t.Errorf("token %d of two: %v", i, err)
		}
	}
	d.setTokens(fresh)
	_, err = Join(t.Context(), d.addr(), old, stranger(t, clock.Real()), "m9", 5)
	wantKind(t, "Join with the replaced token", err, api.Denied)
}

func TestJoinRefusals(t *testing.T) {
	d := openDoor(t, nil)
	ca := d.clu.ca
	if _, err := Join(t.Context(), d.addr(), d.tokens[0], stranger(t, clock.Real()), "taken", 5); err != nil {
		t.Fatal(err)
	}
	other := newCluster(t, "c2")
	outsider := other.node("n8", 8)
	for _, c := range []struct {
		name    string
		token   pki.Token
		id      *pki.Identity
		as      string
		version int
		kind    api.Kind
		text    string
		asked   int // whether the Admitter was
	}{
		{"wrong token", pki.NewToken(ca.Fingerprint()), nil, "n7", 5, api.Denied, "get a new one", 0},
		{"another cluster's token", pki.NewToken(other.ca.Fingerprint()), nil, "n7", 5, api.Denied, "another cluster than the token", 0},
		{"no token", pki.Token{}, nil, "n7", 5, api.Invalid, "no token", 0},
		{"name taken", d.tokens[0], nil, "taken", 5, api.Exists, "choose one with --node", 1},
		{"bad name", d.tokens[0], nil, "../n7", 5, api.Invalid, "want 1 to 63", 0},
		{"node of another cluster", d.tokens[0], outsider, "n8", 5, api.Conflict, "empty data directory", 0},
		{"too old", d.tokens[0], nil, "n7", 3, api.Unsupported, "upgrade the node", 0},
		{"too new", d.tokens[0], nil, "n7", 7, api.Unsupported, "upgrade the cluster", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := c.id
			if id == nil {
				id = stranger(t, clock.Real())
			}
			before, calls := string(id.Chain()), d.calls()
			_, err := Join(t.Context(), d.addr(), c.token, id, c.as, c.version)
			wantKind(t, "Join", err, c.kind)
			if err == nil || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "4711") {
				t.Errorf("Join: %v; want a text with %q", err, c.text)
			}
			if text := c.token.Text(); text != "" && strings.Contains(fmt.Sprint(err), text[20:30]) {
				t.Errorf("the error shows the token: %v", err)
			}
			if string(id.Chain()) != before || d.calls()-calls != c.asked {
				t.Errorf("the identity changed, or the Admitter was asked %d times, want %d", d.calls()-calls, c.asked)
			}
		})
	}
	for _, v := range []int{4, 6} {
		if _, err := Join(t.Context(), d.addr(), d.tokens[0], stranger(t, clock.Real()), fmt.Sprintf("v%d", v), v); err != nil {
			t.Errorf("version %d to a cluster of 5: %v", v, err)
		}
	}
	d.setTokens()
	_, err := Join(t.Context(), d.addr(), pki.NewToken(ca.Fingerprint()), stranger(t, clock.Real()), "n7", 5)
	wantKind(t, "Join when tokens cannot be read", err, api.Unavailable)
	if err == nil || strings.Contains(err.Error(), "4711") {
		t.Errorf("a stranger was told of our insides: %v", err)
	}
}

// dialJoin shakes hands as a joining node does and reads the hello.
func (d *door) dialJoin(tok pki.Token) (c *tls.Conn, binding, nonce []byte) {
	d.t.Helper()
	c, err := tls.Dial("tcp", d.addr(), stranger(d.t, clock.Real()).Join(tok, JoinALPN))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	kind, nonce, err := readJoin(c, nonceSize)
	if err != nil || kind != kindHello {
		d.t.Fatalf("hello: kind %d, %v", kind, err)
	}
	binding, err = joinBinding(c)
	if err != nil {
		d.t.Fatal(err)
	}
	return c, binding, nonce
}

func answerTo(t *testing.T, c *tls.Conn, body []byte) error {
	t.Helper()
	if err := writeJoin(c, kindRequest, body); err != nil {
		t.Fatal(err)
	}
	kind, body, err := readJoin(c, maxAnswer)
	if err != nil {
		t.Fatal(err)
	}
	if kind == kindRefusal {
		return wire.DecodeError(body)
	}
	return nil
}

// What proved the token once proves nothing on another connection, nor for
// another request.
func TestPROBES_N11_JoinProofCannotBeReplayed(t *testing.T) {
	d := openDoor(t, nil)
	tok := d.tokens[0]
	csr, _ := stranger(t, clock.Real()).CSR()
	req := JoinRequest{Name: "n7", Version: 5, CSR: csr}.encode()
	evil := JoinRequest{Name: "n8", Version: 5, CSR: csr}.encode()
	c1, binding1, nonce1 := d.dialJoin(tok)
	proof := tok.Prove(binding1, nonce1, req)
	for _, c := range []struct {
		name string
		body func(binding, nonce []byte) []byte
	}{
		{"proof of another connection", func(_, _ []byte) []byte { return append(bytes.Clone(proof), req...) }},
		{"own nonce, other connection", func(_, nonce []byte) []byte { return append(tok.Prove(binding1, nonce, req), req...) }},
		{"own connection, other nonce", func(b, _ []byte) []byte { return append(tok.Prove(b, nonce1, req), req...) }},
		{"request changed", func(b, nonce []byte) []byte { return append(tok.Prove(b, nonce, req), evil...) }},
	} {
		conn, binding, nonce := d.dialJoin(tok)
		wantKind(t, c.name, answerTo(t, conn, c.body(binding, nonce)), api.Denied)
	}
	if d.calls() != 0 {
		t.Errorf("the Admitter was asked %d times", d.calls())
	}
	if err := answerTo(t, c1, append(proof, req...)); err != nil {
		t.Errorf("the proof where it belongs: %v", err)
	}
}

func TestMalformedJoins(t *testing.T) {
	d := openDoor(t, nil)
	tok := d.tokens[0]
	for name, body := range map[string][]byte{"no proof": []byte("short"), "empty": nil} {
		c, _, _ := d.dialJoin(tok)
		wantKind(t, name, answerTo(t, c, body), api.Invalid)
	}
	for name, fields := range map[string][]byte{
		"fields cut": {1, 255, 0, 0}, "no fields": nil, "garbage CSR": JoinRequest{Name: "n7", Version: 5, CSR: []byte("x")}.encode(),
	} {
		c, binding, nonce := d.dialJoin(tok)
		wantKind(t, name, answerTo(t, c, append(tok.Prove(binding, nonce, fields), fields...)), api.Invalid)
	}
	for name, head := range map[string][]byte{"16 MiB": {0, 0, 0, 1, 1, kindRequest}, "version 2": {0, 0, 0, 0, 2, kindRequest}} {
		c, _, _ := d.dialJoin(tok)
		c.Write(head)
		if kind, _, err := readJoin(c, maxAnswer); err != nil || kind != kindRefusal {
			t.Errorf("%s: answered with kind %d, %v; want a refusal", name, kind, err)
		}
	}
	await(t, "all places are free again", func() bool { return d.Stats().Pending == 0 })
	if d.calls() != 0 {
		t.Errorf("the Admitter was asked %d times", d.calls())
	}
}

// A wrong token is answered after the delay, and after five from one address
// even the right one has to wait.
func TestWrongTokensAreSlowAndLimited(t *testing.T) {
	clk := clock.NewFake(time.Now())
	d := openDoor(t, func(cfg *Config, _ *JoinConfig) { cfg.Clock = clk })
	wrong := pki.NewToken(d.clu.ca.Fingerprint())
	join := func(tok pki.Token) error {
		_, err := Join(t.Context(), d.addr(), tok, stranger(t, clock.Real()), "n7", 5)
		return err
	}
	for range missesFree {
		begin := time.Now()
		wantKind(t, "Join with a wrong token", join(wrong), api.Denied)
		if took := time.Since(begin); took < joinDelay {
			t.Errorf("a wrong token was answered after %v, want at least %v", took, joinDelay)
		}
	}
	wantKind(t, "Join after 5 wrong tokens", join(d.tokens[0]), api.Busy)
	clk.Advance(missesEvery)
	if err := join(d.tokens[0]); err != nil {
		t.Errorf("Join a while later: %v", err)
	}
}

func TestMissesForgetAndAreBounded(t *testing.T) {
	clk := clock.NewFake(time.Unix(0, 0))
	m := newMisses(clk)
	source := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
	}
	for i := range 3 * missesMost {
		m.note(source(i))
	}
	if n := len(m.by); n > missesMost {
		t.Errorf("%d sources are remembered, want at most %d", n, missesMost)
	}
	for range 100 {
		m.note(source(1))
	}
	clk.Advance((100 - missesFree) * missesEvery)
	if m.may(source(1)) {
		t.Error("100 misses are forgiven too early")
	}
	clk.Advance(2 * missesEvery)
	if !m.may(source(1)) || !m.may(source(2)) {
		t.Error("misses are never forgiven")
	}
}

// Nobody comes around the client certificate by offering sigma-join/1 as well.
func TestJoinIsNoWayAroundTheCertificate(t *testing.T) {
	d := openDoor(t, nil)
	handle(t, d.Port, "svc/1", echo)
	for _, protos := range [][]string{{"svc/1"}, {"svc/1", JoinALPN}, {JoinALPN, "svc/1"}, nil, {"sigma"}} {
		c, err := tls.Dial("tcp", d.addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: protos})
		if err != nil {
			continue // refused already
		}
		c.SetDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("offering %q without a certificate read %d bytes, %v", protos, n, err)
		}
		c.Close()
	}
}

func TestAdmitIsBounded(t *testing.T) {
	d := openDoor(t, func(_ *Config, j *JoinConfig) { j.AdmitTime = 50 * time.Millisecond })
	d.admit.hang = true
	_, err := Join(t.Context(), d.addr(), d.tokens[0], stranger(t, clock.Real()), "n7", 5)
	wantKind(t, "Join at a node without quorum", err, api.Deadline)

	d = openDoor(t, nil) // 30 s
	d.admit.hang = true
	result := make(chan error, 1)
	go func() {
		_, err := Join(context.Background(), d.addr(), d.tokens[0], stranger(t, clock.Real()), "n7", 5)
		result <- err
	}()
	await(t, "Admit is called", func() bool {
		if d.admit.mu.TryLock() {
			d.admit.mu.Unlock()
			return false
		}
		return true
	})
	d.Close()
	wantKind(t, "Join at a node that stops", <-result, api.Unavailable)
}

func TestAnswersAreHeldAgainstTheRequest(t *testing.T) {
	c, other := newCluster(t, "c1"), newCluster(t, "c2")
	tok := pki.NewToken(c.ca.Fingerprint())
	id := stranger(t, clock.Real())
	csr, _ := id.CSR()
	chain := func(c *cluster, name string, n uint16) []byte {
		b, err := c.ca.Sign(csr, name, n, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tc := range []struct {
		name string
		a    JoinAnswer
		want api.Kind
	}{
		{"another name", JoinAnswer{"c1", 7, chain(c, "n8", 7), c.trust().Marshal(), nil, nil}, api.Internal},
		{"another number", JoinAnswer{"c1", 8, chain(c, "n7", 7), c.trust().Marshal(), nil, nil}, api.Internal},
		{"another cluster", JoinAnswer{"c2", 7, chain(other, "n7", 7), other.trust().Marshal(), nil, nil}, api.Internal},
		{"cluster misnamed", JoinAnswer{"c2", 7, chain(c, "n7", 7), c.trust().Marshal(), nil, nil}, api.Internal},
		{"signed by nobody trusted", JoinAnswer{"c1", 7, chain(newCluster(t, "c1"), "n7", 7), c.trust().Marshal(), nil, nil}, api.Denied},
		{"empty", JoinAnswer{}, api.Invalid},
		{"good", JoinAnswer{"c1", 7, chain(c, "n7", 7), c.trust().Marshal(), nil, nil}, ""},
	} {
		wantKind(t, tc.name, accept(id, tok, "n7", tc.a), tc.want)
	}
}

func TestServeJoinRefusals(t *testing.T) {
	d := openDoor(t, nil)
	good := JoinConfig{Admitter: d.admit, Tokens: func(context.Context) ([]pki.Token, error) { return nil, nil }}
	_, err := d.ServeJoin(good)
	wantKind(t, "a second ServeJoin", err, api.Exists)
	p := listen(t, d.Identity(), nil)
	for name, edit := range map[string]func(*JoinConfig){
		"no Admitter": func(c *JoinConfig) { c.Admitter = nil }, "no Tokens": func(c *JoinConfig) { c.Tokens = nil },
		"delay beyond the port's patience": func(c *JoinConfig) { c.Delay = time.Minute },
	} {
		cfg := good
		edit(&cfg)
		_, err := p.ServeJoin(cfg)
		wantKind(t, "ServeJoin, "+name, err, api.Invalid)
	}
	stop, err := p.ServeJoin(good)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	_, err = Join(t.Context(), p.Addr().String(), d.tokens[0], stranger(t, clock.Real()), "n7", 5)
	wantKind(t, "Join at a node that does not admit", err, api.Unavailable)
}

func TestJoinMessagesRoundTrip(t *testing.T) {
	r := JoinRequest{Name: "n1", Version: -3, CSR: []byte{1, 2}, Cluster: "c"}
	if got, err := decodeJoinRequest(r.encode()); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("request: %+v, %v; want %+v", got, err, r)
	}
	a := JoinAnswer{"c", 65535, []byte("chain"), []byte("trust"), []Member{{"a", 0, ""}, {"", 9, "x:1"}}, []byte("e")}
	b, err := a.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeJoinAnswer(b); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("answer: %+v, %v; want %+v", got, err, a)
	}
	if _, err := (JoinAnswer{Extra: make([]byte, maxExtra+1)}).encode(); api.KindOf(err) != api.Internal {
		t.Errorf("an answer with too much in it: %v", err)
	}
}

func FuzzJoinMessages(f *testing.F) {
	a, _ := JoinAnswer{"c", 7, []byte("chain"), []byte("trust"), []Member{{"a", 1, "h:1"}}, []byte("e")}.encode()
	f.Add(a)
	f.Add(JoinRequest{Name: "n", Version: 1, CSR: []byte("csr"), Cluster: "c"}.encode())
	f.Add([]byte{1, 255, 255, 255})
	f.Add([]byte{0, 0, 0, 0, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeJoinRequest(b); err == nil {
			if again, err := decodeJoinRequest(r.encode()); err != nil || !reflect.DeepEqual(r, again) {
				t.Fatalf("request %+v came back as %+v, %v", r, again, err)
			}
		}
		if a, err := decodeJoinAnswer(b); err == nil && len(a.Extra) <= maxExtra {
			e, err := a.encode()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := decodeJoinAnswer(e); err != nil || !reflect.DeepEqual(normal(a), normal(again)) {
				t.Fatalf("answer %+v came back as %+v, %v", a, again, err)
			}
		}
		if kind, body, err := readJoin(bytes.NewReader(b), 1000); err == nil {
			var w bytes.Buffer
			writeJoin(&w, kind, body)
			if !bytes.HasPrefix(b, w.Bytes()) {
				t.Fatalf("%x was read as %x", b, w.Bytes())
			}
		}
	})
}

// normal makes absent and empty fields the same.
func normal(a JoinAnswer) JoinAnswer {
	for _, f := range []*[]byte{&a.Chain, &a.Trust, &a.Extra} {
		if len(*f) == 0 {
			*f = nil
		}
	}
	return a
}
