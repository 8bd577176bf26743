package events

import (
	"encoding/json"
	"strconv"
	"time"

	"sigmaos/api"
)

// line is the stored form.
type line struct {
	V int `json:"v"`
	api.Event
}

// appendLine appends what json.Marshal makes of an event's line, and the line's end:
// a busy node writes 100,000 of them in a second.
func appendLine(b []byte, e *api.Event) []byte {
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, version, 10)
	b = append(b, `,"seq":`...)
	b = strconv.AppendInt(b, e.Seq, 10)
	b = append(b, `,"time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","node":`...)
	b = appendString(b, e.Node)
	for _, f := range [...]struct{ name, value string }{
		{`,"realm":`, e.Realm}, {`,"kind":`, e.Kind}, {`,"proc":`, string(e.Proc)}, {`,"by":`, string(e.By)}, {`,"user":`, e.User}, {`,"detail":`, e.Detail},
	} {
		if f.value != "" || f.name == `,"kind":` {
			b = appendString(append(b, f.name...), f.value)
		}
	}
	return append(b, "}\n"...)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			q, _ := json.Marshal(s) // a string always can be
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
