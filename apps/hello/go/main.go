// Hello is the smallest proc in Go: it says Started, greets, and says Exited.
//
// With -q it prints nothing; either way its result data is the moment at which
// main began, as ns of CLOCK_MONOTONIC, for those who measure starts.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"sigmaos/sigma"
)

func main() {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	if len(os.Args) < 2 || os.Args[1] != "-q" {
		if err := sigma.Started(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "hello:", err)
			os.Exit(1)
		}
		fmt.Println("hello from Go, pid", os.Getpid())
	}
	sigma.Exited(sigma.Status{Data: []byte(strconv.FormatInt(t.Nano(), 10))})
}
