package db

import (
	"fmt"
	"math"
)

// toText is a value for which JSON has no words: NaN and the infinities.
func toText(v any) string {
	f, ok := v.(float64)
	switch {
	case ok && math.IsInf(f, 1):
		return "Infinity"
	case ok && math.IsInf(f, -1):
		return "-Infinity"
	}
	return fmt.Sprint(v)
}
