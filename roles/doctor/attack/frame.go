package attack

import (
	"encoding/binary"
	"encoding/hex"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// frame is one request that a proc sends word for word.
type frame struct {
	name    string
	kind    wire.Type
	payload []byte
}

// arg is the frame as an argument of the probe's row "frames".
func (f frame) arg(id int) string {
	return f.name + "=" + hex.EncodeToString(wire.Append(nil, wire.Frame{Type: f.kind, ID: uint32(id), Payload: f.payload}))
}

// argBytes bounds what goes into one run: args and env have 128 KiB.
const argBytes = 100 << 10

// frames sends them from one proc after another and returns the answers.
func (c *check) frames(list []frame) (out []Attempt) {
	var args []string
	size := 0
	flush := func() {
		if len(args) > 0 {
			out = append(out, c.row("frames", args...)...)
		}
		args, size = nil, 0
	}
	for i, f := range list {
		a := f.arg(i + 1)
		if size += len(a) + 1; size > argBytes || len(args) == 64 {
			flush()
			size = len(a) + 1
		}
		args = append(args, a)
	}
	flush()
	if len(out) != len(list) {
		c.fatalf("%d answers to %d frames", len(out), len(list))
	}
	return out
}

// failed is the error that an answer is; a descriptor or plain success is none.
func (a Attempt) failed() *api.Error {
	if a.R < 0 || uint16(a.R)&wire.FlagError == 0 {
		return nil
	}
	return wire.DecodeError(a.payload())
}

func text(tag uint8, s string) []byte {
	var f wire.Fields
	f.String(tag, s)
	return f
}

func dialing(name string, t api.Target) frame {
	return frame{name, wire.TDial, wire.EncodeDial(t)}
}

// nine writes messages of 9P2000.L; docs/PROTOCOL.md has their numbers.
type nine []byte

func message(kind byte) nine { return nine{0, 0, 0, 0, kind, 1, 0} }

func (m nine) u8(v byte) nine    { return append(m, v) }
func (m nine) u16(v uint16) nine { return binary.LittleEndian.AppendUint16(m, v) }
func (m nine) u32(v uint32) nine { return binary.LittleEndian.AppendUint32(m, v) }
func (m nine) u64(v uint64) nine { return binary.LittleEndian.AppendUint64(m, v) }
func (m nine) str(s string) nine { return append(m.u16(uint16(len(s))), s...) }

// arg is the message as an argument of the probe, with its true length.
func (m nine) arg(name string) string {
	binary.LittleEndian.PutUint32(m, uint32(len(m)))
	return "9" + name + "=" + hex.EncodeToString(m)
}

// lie is arg with another length.
func (m nine) lie(name string, size uint32) string {
	binary.LittleEndian.PutUint32(m, size)
	return "9" + name + "=" + hex.EncodeToString(m)
}

const (
	rlerror, rversion, rattach, rwalk = 7, 101, 105, 111
	noFID                             = 0xffffffff
)

func walk(from, to uint32, names ...string) nine {
	m := message(110).u32(from).u32(to).u16(uint16(len(names)))
	for _, n := range names {
		m = m.str(n)
	}
	return m
}

// toNames is how a proc's conversation with the root of names begins: fid 0 is
// the root.
func toNames() []string {
	return []string{
		dialing("dial", api.Target{Service: "named"}).arg(1),
		message(100).u32(64 << 10).str("9P2000.L").arg("version"),
		message(104).u32(0).u32(noFID).str("").str("").u32(0).arg("attach"),
	}
}

// names runs messages on the root of names; the answers are those behind the
// beginning.
func (c *check) names(args ...string) []Attempt {
	got := c.row("frames", append(toNames(), args...)...)
	if len(got) < 3 || got[1].R != rversion || got[2].R != rattach {
		c.fatalf("the root of names does not answer: %v", got)
	}
	return got[3:]
}

// reached is how far a walk came.
func (a Attempt) reached() int {
	p := a.payload()
	if a.R != rwalk || len(p) < 4 {
		return 0
	}
	return int(binary.LittleEndian.Uint16(p[2:]))
}
