// Package plot draws bar charts and courses over time as SVG: enough for the
// figures of a bench, and nothing that can make them look better than they are.
//
// A [Chart] is a few panels, each with bars or lines of one unit. Every axis begins
// at zero and is linear; every bar has its value beside it, as a number; a whisker
// shows the least and the greatest of the rounds behind it, where these are
// known. A note under the panels says where and when it was measured. Values
// that no bar or line can show (negative, infinite, not a number) are an error.
package plot

import (
	"fmt"
	"math"
)

// Chart is one picture.
type Chart struct {
	Title  string
	Panels []Panel
	Notes  []string // lines under the panels
}

// Panel is a group of bars on one axis, or of lines over one time.
type Panel struct {
	Title string
	Unit  string
	Bars  []Bar
	Lines []Line // where there are no bars
	XUnit string // of the lines
}

// Bar is one value and, where High is not zero, the range of its rounds.
type Bar struct {
	Label     string
	Value     float64
	Low, High float64
	Ours      bool // drawn in the colour of what the chart is about
}

func (c Chart) check() error {
	for _, p := range c.Panels {
		for _, b := range p.Bars {
			for _, v := range []float64{b.Value, b.Low, b.High} {
				if v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
					return fmt.Errorf("plot: %s, %s: a bar cannot show %v", p.Title, b.Label, v)
				}
			}
		}
		for _, l := range p.Lines {
			for _, q := range l.Points {
				for _, v := range []float64{q.X, q.Y} {
					if v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
						return fmt.Errorf("plot: %s, %s: a line cannot go through %v", p.Title, l.Label, v)
					}
				}
			}
		}
	}
	return nil
}

// top is the end of the axis.
func (p Panel) top() float64 {
	var v float64
	for _, b := range p.Bars {
		v = max(v, b.Value, b.High)
	}
	for _, l := range p.Lines {
		for _, q := range l.Points {
			v = max(v, q.Y)
		}
	}
	return round(v)
}

// round is the least number from v on whose quarters are round.
func round(v float64) float64 {
	if v == 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8} {
		if t := m * step; t >= v {
			return t
		}
	}
	return 10 * step
}

// Number writes a value with three digits that count.
func Number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
