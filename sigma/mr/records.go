package mr

import (
	"bytes"
	"io"
)

// records reads ranges of files as lines.
type records struct {
	buf   []byte
	bytes int64 // read so far
	count int64
	at    Record // the one that fn has or had last; without its text
}

func newRecords() *records { return &records{buf: make([]byte, MaxRecord+1)} }

// each calls fn with each record of a range.
func (r *records) each(in io.ReaderAt, g Range, fn func(Record) error) error {
	have, off := 0, g.Start // buf[:have] is the file from off on
	part := false
	for {
		want := min(int64(len(r.buf)-have), g.End-off-int64(have))
		n := 0
		var err error
		if want > 0 {
			n, err = in.ReadAt(r.buf[have:have+int(want)], off+int64(have))
			if err != nil && err != io.EOF {
				return err
			}
		}
		r.bytes += int64(n)
		have += n
		end := off+int64(have) >= g.End || int64(n) < want
		used := 0
		give := func(text []byte, p bool) error {
			r.count++
			r.at = Record{File: g.File, Offset: off + int64(used), Part: p}
			rec := r.at
			rec.Text = text
			return fn(rec)
		}
		for {
			i := bytes.IndexByte(r.buf[used:have], '\n')
			if i < 0 {
				break
			}
			if err := give(r.buf[used:used+i], part); err != nil {
				return err
			}
			used, part = used+i+1, false
		}
		switch {
		case end && used < have: // no newline at the end
			if err := give(r.buf[used:have], part); err != nil {
				return err
			}
			used = have
		case !end && used == 0 && have == len(r.buf): // a line longer than that
			k := have
			if i := lastSpace(r.buf[:have]); i >= 0 {
				k = i + 1
			}
			if err := give(r.buf[:k], true); err != nil {
				return err
			}
			used, part = k, true
		}
		if end {
			return nil
		}
		have, off = copy(r.buf, r.buf[used:have]), off+int64(used)
	}
}
