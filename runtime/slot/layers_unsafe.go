//go:build unsafelayers

package slot

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// This build exists for the test that asks what each layer catches: it makes
// slots without those that SIGMA_WITHOUT names, so that the others stand alone.
// Nobody else has a reason to build it; doctor fails and sigmad shouts where it
// runs.

// Unsafe reports a build in which layers can be left out.
const Unsafe = true

var left = strings.Split(os.Getenv("SIGMA_WITHOUT"), ",")

// Without reports whether slots are made without a layer.
func Without(layer string) bool { return slices.Contains(left, layer) }

// initOf is PID 1's program: without namespaces it is another one, which is not
// embedded in anything.
func initOf() ([]byte, error) {
	if !Without(Namespaces) {
		return initProgram, nil
	}
	b, err := os.ReadFile(os.Getenv("SIGMA_INIT"))
	if err != nil {
		return nil, fmt.Errorf("slot: PID 1 without namespaces: build init.c with -DNO_NAMESPACES and name it in SIGMA_INIT: %w", err)
	}
	return b, nil
}
