package events

import (
	"encoding/json"
	"testing"
	"time"

	"sigmaos/api"
)

func TestLinesAreJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
	for _, e := range []api.Event{
		{},
		{Seq: -1, Time: at, Node: "n", Kind: "k"},
		{Seq: 1 << 60, Time: at.UTC(), Node: "n", Realm: "r", Kind: "spawned", Proc: "p-x", By: "q", User: "u", Detail: "exit 3"},
		{Node: `"quoted" \ <&>`, Kind: "tab\t", User: "Zoë\u2028", Detail: "bad \xff byte …"},
	} {
		want, err := json.Marshal(line{version, e})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendLine(nil, &e)); got != string(want)+"\n" {
			t.Errorf("%+v is\n%s, want\n%s", e, got, want)
		}
	}
}
