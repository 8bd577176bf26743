// Eptest is a proc that tests use to see what endpoints do, from inside: it
// serves and dials, many and fast, and asks for what it may not have. Its first
// argument says what; what it finds it prints, a line each or one JSON object.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

var verbs = map[string]func(ctx context.Context, args []string) error{
	"serve":    serve,    // [N]: echo on N endpoints, which it prints
	"many":     many,     // N: that many endpoints, and then what error
	"keep":     keep,     // an endpoint on which it never accepts
	"churn":    churn,    // SECONDS: opens and closes endpoints
	"dial":     dial,     // ENDPOINT…: what comes of each
	"external": external, // ADDRESS…: the same
	"flood":    flood,    // ENDPOINT SECONDS: dials and closes as fast as it can
	"delay":    delay,    // ENDPOINT N: how long each of N dials takes
	"hoard":    hoard,    // TARGET N: that many connections, and then what error
	"talk":     talk,     // ENDPOINT CONNS SECONDS: keeps connections busy
	"deaf":     deaf,     // ENDPOINT N: asks for so many connections and never reads an answer
	"raw":      raw,      // ENDPOINT: frames that no library sends
	"steal":    steal,    // ENDPOINT…: accepts and closes what is another's
	"misuse":   misuse,   // ENDPOINT: calls on a connection that it may not make
}

func main() {
	if len(os.Args) < 2 || os.Args[1] == "-q" {
		return
	}
	fn := verbs[os.Args[1]]
	err := fmt.Errorf("no behaviour %q", os.Args[1])
	if fn != nil {
		err = fn(context.Background(), os.Args[2:])
	}
	st := sigma.Status{}
	if err != nil {
		fmt.Fprintln(os.Stderr, "eptest:", err)
		st = sigma.Status{Code: 1, Message: err.Error()}
	}
	sigma.Exited(st)
	os.Exit(st.Code)
}

func number(args []string, i, def int) int {
	if i < len(args) {
		if n, err := strconv.Atoi(args[i]); err == nil {
			return n
		}
	}
	return def
}

func report(v any) error {
	b, err := json.Marshal(v)
	fmt.Println(string(b))
	return err
}

// line prints what came of one attempt.
func line(what string, err error, took time.Duration) {
	kind, text := api.Kind("ok"), ""
	if err != nil {
		kind, text = api.KindOf(err), strings.ReplaceAll(err.Error(), "\n", " ")
	}
	if len(what) > 60 {
		what = what[:60] + "…"
	}
	fmt.Printf("%s\t%s\t%d\t%s\n", strconv.QuoteToGraphic(what), kind, took.Microseconds(), text)
}

// quantile of sorted values.
func quantile(v []time.Duration, q float64) time.Duration {
	if len(v) == 0 {
		return 0
	}
	return v[min(len(v)-1, int(q*float64(len(v))))]
}
