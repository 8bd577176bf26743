package test

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"sigmaos/api"
)

// What an operator sees: a line per row, all as required, and nothing left.
func TestDoctorAttackPrintsARowPerProbe(t *testing.T) {
	n := StartNode(t)
	out, e, code := n.Ctl("doctor", "--attack")
	held := regexp.MustCompile(`(?m)^held +\S+`).FindAllString(out, -1)
	if code != 0 || len(held) < 60 || !strings.Contains(out, "0 got through") {
		t.Errorf("status %d, %d rows held: %s%s", code, len(held), out, e)
	}
	realms, _, _ := n.Ctl("realm", "ls")
	if strings.Contains(realms, "attack-") || strings.Contains(realms, "canary-") {
		t.Errorf("its realms are left:\n%s", realms)
	}
}

func TestDoctorAttackAsData(t *testing.T) {
	n := StartNode(t)
	out, e, code := n.Ctl("doctor", "--attack", "-o", "json")
	var r api.AttackReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("status %d, %v: %s", code, err, e)
	}
	tried := 0
	for _, row := range r.Rows {
		if row.State == api.AttackHeld && row.Attempts > 0 {
			tried++
		}
	}
	if tried != r.Held || r.Held < 60 || r.Through != 0 || len(r.Layers) == 0 {
		t.Errorf("%d rows held and had attempts; the report says %d held, %d through, layers %v", tried, r.Held, r.Through, r.Layers)
	}
	// Two different things to do.
	if _, e, code := n.Ctl("doctor", "--attack", "--clean"); code != 2 {
		t.Errorf("with --clean: status %d: %s", code, e)
	}
	if _, err := n.Client("default").Info(context.Background()); err != nil {
		t.Errorf("after that: %v", err)
	}
}
