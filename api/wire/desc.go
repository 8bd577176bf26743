package wire

import "sigmaos/api"

// EncodeDesc is the payload of Spawn.
func EncodeDesc(d *api.ProcDesc) []byte { return AppendDesc(make([]byte, 0, DescSize(d)), d) }

// DescSize is how long the payload of Spawn is.
func DescSize(d *api.ProcDesc) (n int) {
	for _, v := range [...]int64{int64(d.Class), d.MCPU, d.Memory, d.FDs, d.Threads} {
		if v != 0 {
			n += 4 + 8
		}
	}
	for _, s := range [...]string{d.Domain, d.Name, d.Group, d.Node} {
		if s != "" {
			n += 4 + len(s)
		}
	}
	for _, list := range [...][]string{d.Args, d.Env, d.Apart, d.Near} {
		for _, s := range list {
			n += 4 + len(s)
		}
	}
	return n + 4 + len(d.Program)
}

// AppendDesc appends the payload of Spawn to b.
func AppendDesc(b []byte, d *api.ProcDesc) []byte {
	f := Fields(b)
	f.String(1, d.Program)
	for _, a := range d.Args {
		f.String(2, a)
	}
	for _, e := range d.Env {
		f.String(3, e)
	}
	f.Int(4, int64(d.Class))
	f.Int(5, d.MCPU)
	f.Int(6, d.Memory)
	f.Int(7, d.FDs)
	f.Int(8, d.Threads)
	if d.Domain != "" {
		f.String(9, d.Domain)
	}
	if d.Name != "" {
		f.String(10, d.Name)
	}
	if d.Group != "" {
		f.String(11, d.Group)
	}
	for _, a := range d.Apart {
		f.String(12, a)
	}
	if d.Node != "" {
		f.String(13, d.Node)
	}
	for _, n := range d.Near {
		f.String(14, n)
	}
	return f
}

// DecodeDesc reads the payload of Spawn. It checks form only; Normalize checks
// sense. What it does not know it does not keep.
func DecodeDesc(p []byte) (*api.ProcDesc, error) {
	d, err := DescIn(string(p))
	if err == nil && len(p) > DescSize(d) {
		return DescIn(string(EncodeDesc(d)))
	}
	return d, err
}

// DescIn is DecodeDesc of text that stays in memory: the descriptor's strings are
// parts of it. Placing decodes a descriptor at every node that it comes by.
func DescIn(s string) (*api.ProcDesc, error) {
	d := new(api.ProcDesc)
	if err := makeLists(d, s); err != nil {
		return nil, err
	}
	var class int64
	for s != "" {
		tag, v, rest, _ := cutField(s)
		s = rest
		var err error
		switch tag {
		case 1:
			d.Program = v
		case 2:
			d.Args = append(d.Args, v)
		case 3:
			d.Env = append(d.Env, v)
		case 4:
			class, err = intOf(v)
		case 5:
			d.MCPU, err = intOf(v)
		case 6:
			d.Memory, err = intOf(v)
		case 7:
			d.FDs, err = intOf(v)
		case 8:
			d.Threads, err = intOf(v)
		case 9:
			d.Domain = v
		case 10:
			d.Name = v
		case 11:
			d.Group = v
		case 12:
			d.Apart = append(d.Apart, v)
		case 13:
			d.Node = v
		case 14:
			d.Near = append(d.Near, v)
		}
		if err != nil {
			return nil, err
		}
	}
	if class < 0 || class > 255 {
		class = 255
	}
	d.Class = api.Class(class)
	return d, nil
}

// makeLists counts the strings of each list, makes room for them, and checks that
// every field is whole.
func makeLists(d *api.ProcDesc, s string) error {
	lists := [...]struct {
		tag uint8
		to  *[]string
		n   int
	}{{2, &d.Args, 0}, {3, &d.Env, 0}, {12, &d.Apart, 0}, {14, &d.Near, 0}}
	for s != "" {
		tag, _, rest, ok := cutField(s)
		if !ok {
			return errField
		}
		s = rest
		for i := range lists {
			if lists[i].tag == tag {
				lists[i].n++
			}
		}
	}
	for _, l := range lists {
		if l.n > api.MaxArgs+1 {
			return api.E(api.TooLarge, "payload", "", "more than %d strings", api.MaxArgs)
		}
		if l.n > 0 {
			*l.to = make([]string, 0, l.n)
		}
	}
	return nil
}

// cutField takes the first field off s.
func cutField(s string) (tag uint8, v, rest string, ok bool) {
	if len(s) < 4 {
		return 0, "", "", false
	}
	n := int(s[1]) | int(s[2])<<8 | int(s[3])<<16
	if n > len(s)-4 {
		return 0, "", "", false
	}
	return s[0], s[4 : 4+n], s[4+n:], true
}

// intOf is Int of text.
func intOf(v string) (n int64, err error) {
	if len(v) != 8 {
		return 0, errField
	}
	for i := range 8 {
		n |= int64(v[i]) << (8 * i)
	}
	return n, nil
}
