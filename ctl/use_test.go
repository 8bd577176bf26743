package ctl

import (
	"strings"
	"testing"
)

func TestWantedArguments(t *testing.T) {
	for use, want := range map[string]string{
		"ps [-a] [--all-realms]":                               "none",
		"run [flags] PROG [ARGS…]":                             "PROG [ARGS…]",
		"kill [--grace 5s | --now] PROC…":                      "PROC…",
		"token REALM --file F":                                 "REALM",
		"token --file F":                                       "none",
		"submit PATH IMAGE --size WxH [--out FILE]":            "PATH IMAGE",
		"run --app APP --in PATH --out DIR [flags] [-- ARGS…]": "[-- ARGS…]",
		"add NAME [flags] -- PROG [ARGS…]":                     "NAME -- PROG [ARGS…]",
		"sql [QUERY | -]":                                      "[QUERY | -]",
		"watch [--from VERSION] PATH":                          "PATH",
		"put FILE|- PATH":                                      "FILE|- PATH",
	} {
		if got := wanted(use); got != want {
			t.Errorf("%q wants %q, want %q", use, got, want)
		}
	}
}

// Wrong use says what was given, and what is wanted in its place.
func TestWrongUseSaysWhatIsWanted(t *testing.T) {
	for line, want := range map[string]string{
		"why":                  "want PROC, not none",
		"why a b":              `want PROC, not "a" "b"`,
		"cp a":                 `want FROM TO, not "a"`,
		"top x":                `want none, not "x"`,
		"cat":                  "want PATH…, not none",
		"ls a b c d e f":       `"d" and 2 more`,
		"realm":                "say which: create, ",
		"realm frob":           `there is no realm "frob"; say which: create, `,
		"node frob":            "drain, ls",
		"ep frob":              "forward, ls or publish",
		"completion fishy":     "bash, fish",
		"kill --grace soon a":  `--grace "soon": want a time, as 90s`,
		"logs -n x a":          `want a whole number`,
		"events --since today": `--since "today": want a time`,
		"frobnicate":           `no verb "frobnicate"`,
	} {
		_, e, code := sigmactl(t, strings.Fields(line)...)
		if code != 2 || !strings.Contains(e, want) || !strings.Contains(e, "usage: sigmactl") {
			t.Errorf("sigmactl %s: status %d, %q; want 2 and %q", line, code, e, want)
		}
	}
}
