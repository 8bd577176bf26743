package main

import (
	"bytes"
	"slices"

	"sigmaos/api"
	"sigmaos/sigma/mr"
)

// newIndex lists the files of each word, in order, with spaces between them.
func newIndex(args []string) (mr.Job, error) {
	if len(args) > 0 {
		return mr.Job{}, api.E(api.Invalid, "index", args[0], "index has no arguments")
	}
	return mr.Job{Map: wordsOfFile, Combine: joinFiles, Reduce: sortFiles}, nil
}

func wordsOfFile(rec mr.Record, emit mr.Emit) error {
	file := []byte(rec.File)
	eachWord(rec.Text, func(word []byte) { emit(word, file) })
	return nil
}

const between = '\n' // is in no name of a file here; it would be two

// joinFiles adds a file to a list. A split has its files one after the other, so
// that a file which is there already is the last one.
func joinFiles(acc, file []byte) []byte {
	if n := len(acc) - len(file); n >= 0 && string(acc[n:]) == string(file) && (n == 0 || acc[n-1] == between) {
		return acc
	}
	return append(append(acc, between), file...)
}

func sortFiles(word []byte, values *mr.Values, emit mr.Emit) error {
	var files []string
	for v, ok := values.Next(); ok; v, ok = values.Next() {
		for f := range bytes.SplitSeq(v, []byte{between}) {
			files = append(files, string(f))
		}
	}
	slices.Sort(files)
	files = slices.Compact(files)
	var out []byte
	for i, f := range files {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, f...)
	}
	emit(word, out)
	return nil
}
