package ninep

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"sigmaos/naming/tree"
)

var rewrite = flag.Bool("rewrite", false, "write testdata anew from what the code does")

// golden compares text with a file of testdata, or writes that.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := string(b); got != want {
		g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
		for i := range g {
			if i >= len(w) || g[i] != w[i] {
				t.Fatalf("%s, line %d:\n got %s\nwant %s\n(go test -rewrite writes it anew)", file, i+1, g[i], append(w, "(no line)")[min(i, len(w))])
			}
		}
		t.Fatalf("%s has %d lines, want %d", file, len(g), len(w))
	}
}

var (
	someTime = time.Unix(1_700_000_000, 123)
	someAttr = tree.Attr{ID: 7, Version: 9, Mode: tree.ModeFile | 0o640, Owner: "alice", Size: 3, Links: 1, Modified: someTime, Lease: "le"}
	someQid  = qid{Type: qidDir, Version: 0x01020304, Path: 0x1122334455667788}
	someIf   = uint64(9)
	perm     = uint32(0o600)
	owner    = "bob"
	fileSize = int64(5)
)

// messages has every message with all its fields set.
var messages = []struct {
	typ uint8
	m   message
}{
	{tVersion, &version{Msize: 8192, Version: "9P2000.L"}},
	{tVersion + 1, &version{Msize: 8192, Version: "unknown"}},
	{tAuth, &auth{Afid: 1, Uname: "u", Aname: "a", UID: 1000}},
	{tAttach, &attach{Fid: 1, Afid: noFid, Uname: "u", Aname: "/a", UID: 1000}},
	{tAttach + 1, &rqid{Qid: someQid}},
	{tLerror + 1, &lerror{Errno: 2}},
	{tFlush, &flush{Old: 0x0203}},
	{tFlush + 1, &empty{}},
	{tWalk, &walk{Fid: 1, NewFid: 2, Names: []string{"usr", "ü"}}},
	{tWalk + 1, &rwalk{Qids: []qid{someQid, {Path: 1}}}},
	{tClunk, &clunk{onFid{1}}},
	{tRemove, &remove{onFid{1}}},
	{tLopen, &lopen{Fid: 1, Flags: oReadWrite | oTruncate}},
	{tLopen + 1, &opened{Qid: someQid, Iounit: 8160}},
	{tLcreate, &lcreate{Fid: 1, Name: "f", Flags: oWriteOnly, Mode: 0o644, Gid: 5}},
	{tRead, &read{span{Fid: 1, Offset: 1 << 40, Count: 100}}},
	{tRead + 1, &rdata{Data: []byte("data")}},
	{tWrite, &write{Fid: 1, Offset: 1 << 40, Data: []byte("data")}},
	{tWrite + 1, &rwrite{Count: 4}},
	{tStatfs, &statfs{onFid{1}}},
	{tStatfs + 1, &rstatfs{Type: magic, BlockSize: 1, Blocks: 2, BlocksFree: 3, Avail: 4, Files: 5, FilesFree: 6, FSID: 7, NameLen: 255}},
	{tRename, &rename{Fid: 1, Dir: 2, Name: "n"}},
	{tRenameat, &renameat{OldDir: 1, OldName: "o", NewDir: 2, NewName: "n"}},
	{tUnlinkat, &unlinkat{Dir: 1, Name: "n", Flags: atRemoveDir}},
	{tSymlink, &symlink{Dir: 1, Name: "n", Target: "t", Gid: 5}},
	{tReadlink, &readlink{onFid{1}}},
	{tReadlink + 1, &rreadlink{Target: "t"}},
	{tMknod, &mknod{Dir: 1, Name: "n", Mode: 0o100644, Major: 2, Minor: 3, Gid: 5}},
	{tMkdir, &mkdir{Dir: 1, Name: "n", Mode: 0o755, Gid: 5}},
	{tLink, &link{Dir: 1, Fid: 2, Name: "n"}},
	{tGetattr, &getattr{Fid: 1, Mask: validBasic}},
	{tGetattr + 1, &rgetattr{
		Valid: validBasic, Qid: someQid, Mode: 0o100644, UID: 1, GID: 2, Links: 3, Rdev: 4, Size: 5, BlockSize: 6, Blocks: 7,
		Atime: stamp{8, 9}, Mtime: stamp{10, 11}, Ctime: stamp{12, 13}, Btime: stamp{14, 15}, Gen: 16, DataVersion: 17,
	}},
	{tSetattr, &setattr{Fid: 1, Valid: setMode | setMtime, Mode: 0o600, UID: 2, GID: 3, Size: 4, Atime: stamp{5, 6}, Mtime: stamp{7, 8}}},
	{tReaddir, &readdir{span{Fid: 1, Offset: 2, Count: 4096}}},
	{tReaddir + 1, &rdata{Data: []byte("entries")}},
	{tFsync, &fsync{Fid: 1, DataOnly: 1}},
	{tXattrwalk, &xattrwalk{Fid: 1, NewFid: 2, Name: "user.x"}},
	{tXattrwalk + 1, &rxattrwalk{Size: 3}},
	{tXattrcreate, &xattrcreate{Fid: 1, Name: "user.x", Size: 3, Flags: 1}},
	{tLock, &lock{Fid: 1, Type: 1, Flags: 1, Start: 2, Length: 3, Proc: 4, Client: "host"}},
	{tLock + 1, &rlock{Status: 0}},
	{tGetlock, &getlock{Fid: 1, Type: 1, Start: 2, Length: 3, Proc: 4, Client: "host"}},
	{tGetlock + 1, &rgetlock{getlock{Type: 2, Start: 2, Length: 3, Proc: 4, Client: "host"}}},

	{tSerror + 1, &serror{Errno: 2, Kind: "not found", Op: "walk", Subject: "f", Text: "there is no such file"}},
	{tSattach, &sattach{Fid: 1, Path: "/p", Fenced: true, Fence: tree.Fence{Path: "/l", Epoch: 3}}},
	{tSattach + 1, &walked{Attr: someAttr}},
	{tSwalk, &swalk{path{1, []string{"a", "b"}}, 2}},
	{tSstat, &sstat{path{1, []string{"a"}}}},
	{tSstat + 1, &walked{Stop: stopLink, Names: 1, Attr: tree.Attr{ID: 1, Mode: tree.ModeEndpoint | 0o777, Modified: someTime, Target: "token", Published: true}}},
	{tSget, &sget{path{1, []string{"a"}}, 4096}},
	{tSget + 1, &rsget{walked{Names: 1, Attr: someAttr}, []byte("abc")}},
	{tSput, &sput{path{1, []string{"a"}}, tree.Put{
		NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644, Exclusive: true, Lease: "le"}, Create: true, Append: true, If: &someIf, Data: []byte("abc"), NoReplay: "id",
	}}},
	{tScreate, &screate{path{1, []string{"a"}}, 2, tree.NewFile{Mode: tree.ModeSymlink | 0o777, Exclusive: true, Published: true, Target: "t", Lease: "le"}, openRead | openWrite}},
	{tSopen, &sopen{path{1, []string{"a"}}, 2, openRead, true}},
	{tSopen + 1, &ropened{true, walked{Names: 1, Attr: someAttr}, 8160}},
	{tSremove, &sremove{path{1, []string{"a"}}, true}},
	{tSrename, &srename{path{1, []string{"a"}}, path{2, []string{"b"}}}},
	{tSrename + 1, &rsrename{true, walked{Stop: stopLink, Names: 1, Attr: someAttr}}},
	{tSsetattr, &ssetattr{path{1, []string{"a"}}, tree.SetAttr{Perm: &perm, Owner: &owner, Size: &fileSize, Modified: &someTime}}},
	{tSreaddir, &sreaddir{path{1, []string{"a"}}, "after", 100, true}},
	{tSreaddir + 1, &rsreaddir{walked{Names: 1, Attr: someAttr}, true, []Entry{{tree.Dirent{Name: "n", ID: 7, Mode: tree.ModeFile | 0o640}, &someAttr}, {Dirent: tree.Dirent{Name: "gone", ID: 8}}}}},
	{tSwatch, &swatch{Fid: 1, Version: 9, Window: 100}},
	{tSseen, &sseen{Tag: 2, Events: 50}},
	{tSwatch + 1, &rswatch{true, 10, []tree.Event{{Version: 10, Kind: tree.Created, Name: "n", ID: 7}}}},
	{tSgrant, &sgrant{TTL: 5000}},
	{tSgrant + 1, &lease{ID: "le"}},
	{tSrenew, &srenew{lease{"le"}}},
	{tSrevoke, &srevoke{lease{"le"}}},
	{tSabandon, &sabandon{onFid{1}}},
}

// newMessage makes an empty message of any type.
func newMessage(typ uint8) message {
	switch typ {
	case tVersion:
		return &version{}
	case tFlush:
		return &flush{}
	}
	if a := newAsked(typ); a != nil {
		return a
	}
	return newAnswer(typ)
}

// Every message has the bytes that docs/PROTOCOL.md says, and comes back from
// them as it was.
func TestMessagesOnTheWire(t *testing.T) {
	var text strings.Builder
	seen := make(map[uint8]bool)
	for _, c := range messages {
		b := appendFrame(nil, c.typ, 0xbeef, c.m)
		name := strings.TrimPrefix(fmt.Sprintf("%T", c.m), "*ninep.")
		fmt.Fprintf(&text, "%3d %-12s %s\n", c.typ, name, hex.EncodeToString(b))
		if size := int(b[0]) | int(b[1])<<8; size != len(b) || frameType(b) != c.typ || frameTag(b) != 0xbeef {
			t.Errorf("%s: the header says %d bytes, type %d, tag %#x", name, size, frameType(b), frameTag(b))
		}
		got := newMessage(c.typ)
		if got == nil {
			t.Errorf("%s: type %d is not known", name, c.typ)
			continue
		}
		if err := decode(b[headerSize:], got); err != nil {
			t.Errorf("%s: decode: %v", name, err)
		} else if reflect.TypeOf(got) != reflect.TypeOf(c.m) || !reflect.DeepEqual(got, c.m) {
			t.Errorf("%s: decoded to %T %+v, want %+v", name, got, got, c.m)
		}
		seen[c.typ] = true
	}
	golden(t, "messages.txt", text.String())
	for typ := range 256 {
		if newAsked(uint8(typ)) != nil && !seen[uint8(typ)] {
			t.Errorf("the request of type %d is not in the table", typ)
		}
	}
}

// A message that is cut, or followed by something, is an error and no panic.
func TestMessagesCutShort(t *testing.T) {
	for _, c := range messages {
		b := appendFrame(nil, c.typ, 1, c.m)[headerSize:]
		for n := range b {
			if c.typ == tFsync && n == 4 { // as older clients send it
				continue
			}
			if err := decode(b[:n], newMessage(c.typ)); err == nil {
				t.Errorf("%T of %d bytes is read from %d", c.m, len(b), n)
			}
		}
		if err := decode(append(bytes.Clone(b), 0), newMessage(c.typ)); err == nil {
			t.Errorf("%T with a byte behind it is read", c.m)
		}
	}
}

// The numbers that Linux, diod and everybody else use, from the protocol's
// documents rather than from the table above.
func TestBytesOfPlainMessages(t *testing.T) {
	for name, c := range map[string]struct {
		typ  uint8
		m    message
		want string
	}{
		"Tversion":  {tVersion, &version{Msize: 8192, Version: "9P2000.L"}, "15000000 64 ffff 00200000 0800 3950323030302e4c"},
		"Tattach":   {tAttach, &attach{Fid: 0, Afid: noFid, Aname: "/", UID: 0}, "18000000 68 ffff 00000000 ffffffff 0000 0100 2f 00000000"},
		"Twalk":     {tWalk, &walk{Fid: 0, NewFid: 1, Names: []string{"a"}}, "14000000 6e ffff 00000000 01000000 0100 0100 61"},
		"Tlopen":    {tLopen, &lopen{Fid: 1, Flags: 0}, "0f000000 0c ffff 01000000 00000000"},
		"Tread":     {tRead, &read{span{1, 0, 8168}}, "17000000 74 ffff 01000000 0000000000000000 e81f0000"},
		"Treaddir":  {tReaddir, &readdir{span{1, 0, 8168}}, "17000000 28 ffff 01000000 0000000000000000 e81f0000"},
		"Tgetattr":  {tGetattr, &getattr{1, 0x7ff}, "13000000 18 ffff 01000000 ff07000000000000"},
		"Tunlinkat": {tUnlinkat, &unlinkat{1, "d", 0x200}, "12000000 4c ffff 01000000 0100 64 00020000"},
		"Tclunk":    {tClunk, &clunk{onFid{1}}, "0b000000 78 ffff 01000000"},
		"Rlerror":   {tLerror + 1, &lerror{2}, "0b000000 07 ffff 02000000"},
	} {
		want := strings.ReplaceAll(c.want, " ", "")
		if got := hex.EncodeToString(appendFrame(nil, c.typ, noTag, c.m)); got != want {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range messages {
		f.Add(c.typ, appendFrame(nil, c.typ, 1, c.m)[headerSize:])
	}
	f.Fuzz(func(t *testing.T, typ uint8, b []byte) {
		m := newMessage(typ)
		if m == nil || decode(b, m) != nil {
			return
		}
		again := appendFrame(nil, typ, 1, m)[headerSize:]
		if typ == tFsync && len(b) == 4 {
			return
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("type %d: %x is read as %+v and written as %x", typ, b, m, again)
		}
	})
}
