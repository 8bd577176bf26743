package main

import (
	"encoding/binary"
	"strconv"

	"sigmaos/api"
	"sigmaos/sigma/mr"
)

var one = binary.LittleEndian.AppendUint64(nil, 1)

func newWC(args []string) (mr.Job, error) {
	if len(args) > 0 {
		return mr.Job{}, api.E(api.Invalid, "wc", args[0], "wc has no arguments")
	}
	return mr.Job{Map: countWords, Combine: addCounts, Reduce: sumCounts}, nil
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
