package mr

import (
	"io"
	"time"
)

// Stats is what one attempt did, and for how long; of many, their sum.
type Stats struct {
	InBytes  int64 `json:"in,omitempty"`
	InPairs  int64 `json:"inPairs,omitempty"` // records of a map, keys of a reduce
	OutBytes int64 `json:"out,omitempty"`

	Start time.Duration `json:"start,omitempty"` // from Spawn to the first line of Main
	Read  time.Duration `json:"read,omitempty"`  // waiting for input
	Sort  time.Duration `json:"sort,omitempty"`  // sorting the table
	Write time.Duration `json:"write,omitempty"` // waiting for output
	Wall  time.Duration `json:"wall,omitempty"`  // from the first line of Main to the result
	CPU   time.Duration `json:"cpu,omitempty"`   // of the whole proc
	RSS   int64         `json:"rss,omitempty"`   // at its highest; of many, the highest
}

func (s *Stats) add(o Stats) {
	s.InBytes += o.InBytes
	s.InPairs += o.InPairs
	s.OutBytes += o.OutBytes
	s.Start += o.Start
	s.Read += o.Read
	s.Sort += o.Sort
	s.Write += o.Write
	s.Wall += o.Wall
	s.CPU += o.CPU
	s.RSS = max(s.RSS, o.RSS)
}

// clock adds what it measures to a sum.
func clock(sum *time.Duration) (stop func()) {
	begin := time.Now()
	return func() { *sum += time.Since(begin) }
}

// timedInput and timedOutput count the time that a task waits for files.
type timedInput struct {
	input
	sum *time.Duration
}

func (t timedInput) ReadAt(p []byte, off int64) (int, error) {
	defer clock(t.sum)()
	return t.input.ReadAt(p, off)
}

type timedOutput struct {
	output
	sum   *time.Duration
	bytes *int64
}

func (t timedOutput) Write(p []byte) (int, error) {
	defer clock(t.sum)()
	n, err := t.output.Write(p)
	*t.bytes += int64(n)
	return n, err
}

func (t timedOutput) Close() error {
	defer clock(t.sum)()
	return t.output.Close()
}

// timedReader counts the time that reading a run takes, and names the run in what
// goes wrong.
type timedReader struct {
	in   io.ReaderAt
	path string
	sum  *time.Duration
}

func (t timedReader) ReadAt(p []byte, off int64) (int, error) {
	defer clock(t.sum)()
	n, err := t.in.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = &readError{t.path, err}
	}
	return n, err
}
