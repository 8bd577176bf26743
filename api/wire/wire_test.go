package wire

import (
	"bytes"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"sigmaos/api"
)

func TestMessagesRoundTrip(t *testing.T) {
	d := &api.ProcDesc{Program: "/bin/x", Args: []string{"a", "", "c"}, Env: []string{"K=V"}, Name: "n", Class: api.LC, MCPU: 5, Memory: 1 << 40, FDs: 9, Threads: 7, Domain: "rack"}
	if got, err := DecodeDesc(EncodeDesc(d)); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("desc: %+v %v, want %+v", got, err, d)
	}
	s := api.Status{State: api.Signal, Code: -3, Signal: 11, Message: "m", Data: []byte{0, 1}}
	if got, err := DecodeStatus(EncodeStatus(s)); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("status: %+v %v, want %+v", got, err, s)
	}
	e := api.E(api.Busy, "op", "subject", "text %d", 1)
	if got := DecodeError(EncodeError(e)); *got != *e {
		t.Errorf("error: %+v, want %+v", got, e)
	}
	target := Target{ID: "p", GraceMS: -1, Reason: "r"}
	if got, err := DecodeTarget(target.Encode()); err != nil || got != target {
		t.Errorf("target: %+v %v", got, err)
	}
	if _, err := DecodeExit(Exit{Data: make([]byte, api.MaxData+1)}.Encode()); api.KindOf(err) != api.TooLarge {
		t.Errorf("exit with too much data: %v", err)
	}
}

// A descriptor does not keep what nobody will look at, which no limit counts.
func TestADescriptorKeepsNoJunk(t *testing.T) {
	d := &api.ProcDesc{Program: "/bin/x", Args: []string{"a"}}
	p := Fields(EncodeDesc(d))
	p.String(200, strings.Repeat("junk", 10_000))
	p.Int(99, 5)
	got, err := DecodeDesc(p)
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Fatalf("%+v, %v", got, err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := make([]*api.ProcDesc, 500) // of 40 KB each, with the junk
	for i := range kept {
		kept[i], _ = DecodeDesc(p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 4<<20 {
		t.Errorf("%d descriptors keep %d bytes", len(kept), n)
	}
	runtime.KeepAlive(kept)
}

func TestReaderHoldsToItsLimits(t *testing.T) {
	frame := Append(nil, Frame{Type: TSpawn, ID: 7, Payload: make([]byte, MaxPayload)})
	f, err := NewReader(iotest.HalfReader(bytes.NewReader(frame))).Read()
	if err != nil || len(f.Payload) != MaxPayload || f.ID != 7 {
		t.Errorf("the longest frame: %d bytes, %v", len(f.Payload), err)
	}
	for name, b := range map[string][]byte{
		"too long":      Append(nil, Frame{Payload: make([]byte, MaxPayload+1)}),
		"version":       append([]byte{0, 0, 0, 0, 9}, make([]byte, 7)...),
		"cut":           frame[:100],
		"cut in header": frame[:5],
	} {
		if _, err := NewReader(bytes.NewReader(b)).Read(); err == nil || err == io.EOF {
			t.Errorf("%s: %v, want an error that is no clean end", name, err)
		}
	}
	if _, err := NewReader(bytes.NewReader(nil)).Read(); err != io.EOF {
		t.Errorf("clean end: %v", err)
	}
}

// Whatever the pieces in which bytes come, the frames are the same, and written
// again they are the same bytes.
func FuzzReader(f *testing.F) {
	f.Add(Append(Append(nil, Frame{Type: TStarted}), Frame{Type: TSpawn, ID: 3, Payload: EncodeDesc(&api.ProcDesc{Program: "/bin/x"})}))
	f.Add([]byte{1, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(r *Reader) (out []byte) {
			for {
				f, err := r.Read()
				if err != nil {
					return out
				}
				out = Append(out, f)
			}
		}
		whole := read(NewReader(bytes.NewReader(b)))
		if single := read(NewReader(iotest.OneByteReader(bytes.NewReader(b)))); !bytes.Equal(whole, single) {
			t.Fatalf("in one piece %x, byte by byte %x", whole, single)
		}
		if !bytes.HasPrefix(b, whole) {
			t.Fatalf("read %x of %x", whole, b)
		}
	})
}

// No payload makes a decoder panic, and what decodes survives a round trip.
func FuzzMessages(f *testing.F) {
	f.Add(EncodeDesc(&api.ProcDesc{Program: "p", Args: []string{"a"}, Env: []string{"A=B"}, Memory: 5}))
	f.Add(EncodeStatus(api.Status{State: api.OOM, Data: []byte("x")}))
	f.Add(Call{Method: "m", Body: []byte("{}"), Data: []byte("d")}.Encode())
	f.Add([]byte{1, 255, 255, 255})
	f.Add(EncodeDial(api.Target{Endpoint: "ep1-x", Node: "n"}))
	f.Add(EncodePeer(api.Peer{Realm: "r", Proc: "p", Address: "1.2.3.4:5"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := DecodeDesc(b); err == nil {
			again, err := DecodeDesc(EncodeDesc(d))
			if err != nil || !reflect.DeepEqual(d, again) {
				t.Fatalf("desc %+v came back as %+v, %v", d, again, err)
			}
			d.Normalize()
		}
		DecodeStatus(b)
		DecodeExit(b)
		DecodeTarget(b)
		DecodeError(b)
		DecodeCall(b)
		if d, err := DecodeDial(b); err == nil {
			if again, err := DecodeDial(EncodeDial(d)); err != nil || again != d {
				t.Fatalf("target %+v came back as %+v, %v", d, again, err)
			}
		}
		if p, err := DecodePeer(b); err == nil {
			if again, err := DecodePeer(EncodePeer(p)); err != nil || again != p {
				t.Fatalf("peer %+v came back as %+v, %v", p, again, err)
			}
		}
		if e, err := DecodeEndpoint(b); err == nil {
			if again, err := DecodeEndpoint(EncodeEndpoint(e)); err != nil || again != e {
				t.Fatalf("endpoint %q came back as %q, %v", e, again, err)
			}
		}
	})
}
