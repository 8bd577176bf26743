package mr

import (
	"slices"

	"sigmaos/sigma/job"
	"sigmaos/sigma/tasks"
)

// near is the node that has most of s, as far as paths tell; "" is none.
func (s split) near() (node string) {
	bytes := make(map[string]int64)
	for _, r := range s {
		n := job.NodeOf(r.File)
		if bytes[n] += r.End - r.Start; bytes[n] > bytes[node] {
			node = n
		}
	}
	return node
}

// mostRuns is the node that has more than half of the bytes of all runs; "" is none.
func mostRuns(dirs []string, runs []mapRuns) string {
	var all int64
	bytes := make([]int64, len(dirs))
	for _, r := range runs {
		for _, size := range r.Sizes {
			all += size
			bytes[r.Dir] += size
		}
	}
	for i, n := range bytes {
		if 2*n > all {
			return job.NodeOf(dirs[i])
		}
	}
	return ""
}

// stretch is a part of the input, in its order, that is in one place: files that follow
// each other and are in one node's scratch space, or in none.
type stretch struct {
	files []found
	bytes int64
}

// maxStretches is how many are looked at by themselves.
const maxStretches = 100

// stretches cuts the input where it goes on at another node, so that a split is of one
// node. Short ones count to what is before them; where there are too many, all is one.
func stretches(files []found) (out []stretch) {
	begin, node := 0, ""
	for i, f := range files {
		n := job.NodeOf(f.path)
		if i > 0 && n != node && out[len(out)-1].bytes >= smallest {
			begin = i
		}
		if i == begin {
			out = append(out, stretch{})
		}
		s := &out[len(out)-1]
		s.files, s.bytes, node = files[begin:i+1], s.bytes+f.size, n
	}
	if n := len(out); n > 1 && out[n-1].bytes < smallest {
		out[n-2].files = files[begin-len(out[n-2].files):]
		out[n-2].bytes += out[n-1].bytes
		out = out[:n-1]
	}
	if len(out) > maxStretches {
		all := stretch{files: files}
		for _, s := range out {
			all.bytes += s.bytes
		}
		return []stretch{all}
	}
	return out
}

// coresFor is how many of the cores a stretch is worth.
func (s stretch) coresFor(total int64, cores int) int {
	return max(1, int((s.bytes*int64(cores)+total/2)/max(total, 1)))
}

// takeTurns puts tasks that are to begin at the same time into an order in which those
// near one node are as far from each other as can be.
func takeTurns(list []tasks.Task, near func(tasks.Task) string) []tasks.Task {
	count := make(map[string]int)
	turn := make(map[string]int, len(list))
	for _, t := range list {
		n := near(t)
		turn[t.ID] = count[n]
		count[n]++
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b tasks.Task) int { return turn[a.ID] - turn[b.ID] })
	return list
}
