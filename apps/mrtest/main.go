// Mrtest has a job for each way in which functions go wrong; its first argument,
// where it has one, is a path of the realm.
package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/mr"
)

var held [][]byte // by hungry

func main() {
	mr.Main(
		app("panic", func(_ string, rec mr.Record) error { // on one record
			if strings.Contains(string(rec.Text), "boom") {
				panic("this record is too much")
			}
			return nil
		}),
		app("fail", func(string, mr.Record) error { return errors.New("no good") }),
		app("hang", func(path string, _ mr.Record) error { // for ever, once in the whole job
			if once(path) {
				select {}
			}
			return nil
		}),
		app("hungry", func(string, mr.Record) error { // for memory
			for {
				b := make([]byte, 16<<20)
				for i := 0; i < len(b); i += 4096 {
					b[i] = 1
				}
				held = append(held, b)
			}
		}),
		app("slow", func(string, mr.Record) error { // so that there is time to do something to it
			time.Sleep(20 * time.Millisecond)
			return nil
		}),
	)
}

// once is true for the first that asks.
func once(path string) bool {
	_, err := sigma.PutFile(context.Background(), path, nil, sigma.Exclusive())
	return err == nil || api.KindOf(err) != api.Exists
}

// app counts lines, after before was called with each.
func app(name string, before func(path string, rec mr.Record) error) mr.App {
	return mr.App{Name: name, New: func(args []string) (mr.Job, error) {
		path := strings.Join(args, "")
		pause := time.Duration(0)
		if name == "slow" {
			pause = 4 * time.Millisecond
		}
		return mr.Job{
			Map: func(rec mr.Record, emit mr.Emit) error {
				if err := before(path, rec); err != nil {
					return err
				}
				emit(rec.Text, []byte("1"))
				return nil
			},
			Reduce: func(key []byte, values *mr.Values, emit mr.Emit) error {
				time.Sleep(pause)
				var ones []byte
				for v, ok := values.Next(); ok; v, ok = values.Next() {
					ones = append(ones, v...)
				}
				emit(key, ones)
				return nil
			},
		}, nil
	}}
}
