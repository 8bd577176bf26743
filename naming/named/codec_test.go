package named

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sigmaos/naming/tree"
)

var inodes = map[string]inode{
	"file":      {ID: 7, Version: 9, Created: 8, Mode: tree.ModeFile | 0o644, Owner: "alice", Modified: 1e18, Entered: 8, EnteredAt: 1e17, Data: []byte("text")},
	"ephemeral": {ID: 7, Version: 9, Created: 8, Mode: tree.ModeFile, Lease: strings.Repeat("l", maxLeaseID), Data: []byte{0, 1}},
	"largest":   {ID: math.MaxUint64, Version: math.MaxUint64, Mode: tree.ModeFile | 0o777, Owner: strings.Repeat("o", maxUser), Modified: -1, Data: make([]byte, maxFileSize)},
	"directory": {ID: 1, Version: 1, Created: 1, Mode: tree.ModeDir | 0o775, Data: []byte{}},
	"link":      {ID: 2, Mode: tree.ModeSymlink | 0o777, Target: strings.Repeat("/t", tree.MaxPath/2), Data: []byte{}},
	"published": {ID: 2, Mode: tree.ModeEndpoint, Target: "token", Published: true, Data: []byte{}},
}

func TestInodesComeBack(t *testing.T) {
	for name, in := range inodes {
		got, apart, err := decodeEntry(in.encode())
		if err != nil || apart || !reflect.DeepEqual(got, in) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, in)
		}
		old := in
		old.Entered, old.EnteredAt, old.Published = 0, 0, false
		if got, err := decodeInode(in.ID, oldFile(in)); err != nil || !reflect.DeepEqual(got, old) {
			t.Errorf("%s of the first format: %+v, %v, want %+v", name, got, err, old)
		}
		if name == "largest" {
			if n := len(in.encode()); n > maxTxnBytes {
				t.Errorf("the largest inode is %d bytes; a batch ends before %d", n, maxTxnBytes)
			}
		}
	}
	for what, v := range map[string][]byte{
		"nothing": nil, "another version": {3, 0, 0}, "a short one": inodesValue("file")[:30], "a directory with content": append(inodesValue("directory"), 'x'),
		"too large": append(inodesValue("largest"), 'x'), "unknown flags": flip(inodesValue("file"), 53, 2), "a long owner": flip(inodesValue("file"), 54, 0xff),
		"an owner that is no text": flip(inodesValue("file"), 58, 0xff),
	} {
		if in, err := decodeInode(1, v); err == nil {
			t.Errorf("%s is read as %+v", what, in)
		}
	}
}

func inodesValue(name string) []byte { in := inodes[name]; return in.encode() }

func flip(b []byte, i int, to byte) []byte { b[i] = to; return b }

func TestRecordsComeBack(t *testing.T) {
	log := logRecord{epoch: 5, seq: 6, version: 12, events: []event{
		{version: 11, kind: tree.Created, parent: 1, id: 7, name: "a"}, {version: 12, kind: tree.Renamed, parent: math.MaxUint64, id: 9, name: strings.Repeat("n", tree.MaxName)},
	}}
	if got, err := decodeLog(log.encode()); err != nil || !reflect.DeepEqual(got, log) {
		t.Errorf("log: %+v, %v, want %+v", got, err, log)
	}
	l := leaseRecord{user: "alice", proc: "p-1", ttl: 7 * time.Second}
	if got, err := decodeLease(l.encode()); err != nil || got != l {
		t.Errorf("lease: %+v, %v, want %+v", got, err, l)
	}
	p := replay{key: replayKey{"alice", "w-1"}, file: 3, version: 4, mode: tree.ModeFile | 0o600, size: 5, modified: 6, owner: "bob", lease: "x"}
	if got, err := decodeReplays(0, p.append([]byte{format})); err != nil || !slices.Equal(got, []replay{p}) {
		t.Errorf("replay of the first format: %+v, %v, want %+v", got, err, p)
	}
	list := []replay{p, p, p}
	for i := range list {
		list[i].seq = 40 + uint64(i)
	}
	if got, err := decodeReplays(40, encodeReplays(list)); err != nil || !slices.Equal(got, list) {
		t.Errorf("replays: %+v, %v, want %+v", got, err, list)
	}
	if got, err := decodeReplays(41, encodeReplays(list)); err == nil {
		t.Errorf("replays at another's key are read as %+v", got)
	}
	log.replays = list
	if got, err := decodeLog(log.encode()); err != nil || !reflect.DeepEqual(got, log) {
		t.Errorf("log with replays: %+v, %v, want %+v", got, err, log)
	}
	if in, apart, err := decodeEntry(oldEntry(77, tree.ModeDir)); in.ID != 77 || in.Mode != tree.ModeDir || !apart || err != nil {
		t.Errorf("entry of the first format: %+v %v %v", in, apart, err)
	}
	if id, err := decodeID(encodeID(1 << 40)); id != 1<<40 || err != nil {
		t.Errorf("id: %d %v", id, err)
	}
	k := realmKeys("r")
	for _, e := range []entryKey{{1, "a"}, {math.MaxUint64, "ü/no"}, {10, strings.Repeat("n", 255)}} {
		key := strings.TrimPrefix(k.dirent(e), string(k)+"d/")
		if got, ok := parseDirent(key); !ok || got != e {
			t.Errorf("parseDirent(%q) = %+v, %v, want %+v", key, got, ok, e)
		}
	}
	for _, bad := range []string{"", "0000000000000001", "0000000000000001/", "000000000000000G/x", "000000000000000A/x", "0000000000000001x/"} {
		if e, ok := parseDirent(bad); ok {
			t.Errorf("parseDirent(%q) = %+v", bad, e)
		}
	}
}

func TestLeaseTimesAreClamped(t *testing.T) {
	for ns, want := range map[uint64]time.Duration{0: time.Second, uint64(5 * time.Second): 5 * time.Second, uint64(time.Hour): time.Minute, math.MaxUint64: time.Minute} {
		if got := clampTTL(ns); got != want {
			t.Errorf("clampTTL(%d) = %v, want %v", ns, got, want)
		}
	}
}

// Whatever etcd holds: no decoder panics, and what one accepts is written again
// as it was.
func FuzzValues(f *testing.F) {
	for _, in := range inodes {
		if len(in.Data) < 1000 {
			f.Add(in.encode())
		}
	}
	f.Add((&logRecord{epoch: 1, seq: 2, version: 3, events: []event{{kind: tree.Removed, parent: 1, id: 2, name: "x"}}}).encode())
	f.Add((&logRecord{version: 1 << 40}).encode())
	f.Add((&leaseRecord{user: "u", proc: "p", ttl: time.Second}).encode())
	f.Add(encodeReplays([]replay{{key: replayKey{"u", "i"}, owner: "o"}}))
	f.Add((&logRecord{version: 5, replays: []replay{{seq: 3, key: replayKey{"u", "i"}}}}).encode())
	f.Add(oldEntry(1, 2))
	f.Add(oldFile(inodes["file"]))
	f.Add(encodeID(3))
	f.Add([]byte("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, v []byte) {
		again := func(what string, err error, b func() []byte) {
			if err == nil && v[0] == format2 && !bytes.Equal(b(), v) {
				t.Errorf("%s %q is written again as %q", what, v, b())
			}
		}
		in, apart, err := decodeEntry(v)
		if again("entry", err, in.encode); err == nil && apart && !bytes.Equal(oldEntry(in.ID, in.Mode), v) {
			t.Errorf("an entry of the first format, %q, is read as %+v", v, in)
		}
		if in, err := decodeInode(1, v); err == nil && v[0] == format && !in.Published && !bytes.Equal(oldFile(in), v) {
			t.Errorf("a file of the first format, %q, is read as %+v", v, in)
		}
		log, err := decodeLog(v)
		again("log", err, log.encode)
		if l, err := decodeLease(v); err == nil && (l.ttl < minLease || l.ttl > maxLease) {
			t.Errorf("lease of %v", l.ttl)
		}
		if list, err := decodeReplays(0, v); len(list) > 0 {
			again("replays", err, func() []byte { return encodeReplays(list) })
		}
		if id, err := decodeID(v); err == nil && !bytes.Equal(encodeID(id), v) {
			t.Errorf("id %q is written again as %q", v, encodeID(id))
		}
		parseDirent(string(v))
		decodeHolder(v)
	})
}

// What a client sends: no name, path or target gets further than it may.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "/", "a", "/a/b", "..", "/a/../b", "a//b", "~local", "\x00", "\xff", strings.Repeat("x/", 9000), strings.Repeat("y", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := &req{op: "fuzz", path: "/"}
		if steps, err := r.split(s); err == nil {
			for _, n := range steps {
				if n == "" || n == "." || n == ".." || strings.ContainsAny(n, "/\x00") || len(n) > tree.MaxName {
					t.Errorf("split(%q) has the step %q", s, n)
				}
			}
		}
		if r.checkNewName(s) == nil && (s == "~local" || s == "~any" || r.checkName(s) != nil) {
			t.Errorf("%q passes for a new name", s)
		}
		if out := show(s); strings.ContainsAny(out, "\x00\n\x1b") || len(out) > 200 {
			t.Errorf("show(%q) = %q", s, out)
		}
	})
}
