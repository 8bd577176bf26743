package main

import (
	"encoding/binary"
	"strconv"

	"sigmaos/api"
	"sigmaos/sigma/mr"
)

var one = binary.LittleEndian.AppendUint64(nil, 1)

// newWC is word count. With the argument pairs nothing is added up before the
// reducers: each word of the text goes to them as a pair of its own.
func newWC(args []string) (mr.Job, error) {
	j := mr.Job{Map: countWords, Combine: addCounts, Reduce: sumCounts}
	switch {
	case len(args) == 1 && args[0] == "pairs":
		j.Combine = nil
	case len(args) > 0:
		return mr.Job{}, api.E(api.Invalid, "wc", args[0], "wc has one argument: pairs, to add nothing up before the reducers")
	}
	return j, nil
}

func countWords(rec mr.Record, emit mr.Emit) error {
	eachWord(rec.Text, func(word []byte) { emit(word, one) })
	return nil
}

func addCounts(acc, value []byte) []byte {
	binary.LittleEndian.PutUint64(acc, binary.LittleEndian.Uint64(acc)+binary.LittleEndian.Uint64(value))
	return acc
}

func sumCounts(word []byte, values *mr.Values, emit mr.Emit) error {
	sum := uint64(0)
	for v, ok := values.Next(); ok; v, ok = values.Next() {
		sum += binary.LittleEndian.Uint64(v)
	}
	var b [20]byte
	emit(word, strconv.AppendUint(b[:0], sum, 10))
	return nil
}
