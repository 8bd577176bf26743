package logs

import "fmt"

// Limits bound what logs cost. Zero fields get the default.
type Limits struct {
	RealmBytes   int64 // files of one realm; 64 MiB
	ProcBytes    int64 // files of one proc, about; 4 MiB
	SegmentBytes int64 // one file; 1 MiB
	Rate         int64 // bytes a second that are taken from one proc; 8 MiB
	Burst        int64 // bytes that are taken at once after a pause; 1 MiB
}

func (l *Limits) setDefaults() error {
	for _, f := range []struct {
		name     string
		v        *int64
		def, min int64
	}{
		{"RealmBytes", &l.RealmBytes, 64 << 20, 16 << 10},
		{"ProcBytes", &l.ProcBytes, 4 << 20, 4 << 10},
		{"SegmentBytes", &l.SegmentBytes, 1 << 20, 4 << 10},
		{"Rate", &l.Rate, 8 << 20, 1},
		{"Burst", &l.Burst, 1 << 20, 1},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < f.min {
			return fmt.Errorf("log limits: %s is %d, must be at least %d", f.name, *f.v, f.min)
		}
	}
	if l.RealmBytes < 4*l.SegmentBytes {
		return fmt.Errorf("log limits: RealmBytes %d is less than four segments of %d: dropping one would drop most of the log", l.RealmBytes, l.SegmentBytes)
	}
	return nil
}

// head is how much a proc writes into the shared lane before it gets its own.
func (l *Limits) head() int64 { return min(l.SegmentBytes, l.ProcBytes) / 16 }

// segment is the size of a lane's files; a private lane is made of several, as
// dropping one should leave most of the rest.
func (l *Limits) segment(private bool) int64 {
	if private {
		return min(l.SegmentBytes, l.ProcBytes/4)
	}
	return l.SegmentBytes
}

// flushAt is the number of buffered bytes that are written without waiting.
func (l *Limits) flushAt() int { return int(min(maxRecord, l.segment(true)/4)) }
