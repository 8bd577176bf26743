package plot

import (
	"bytes"
	"fmt"
	"strings"
)

// Line is a course over time.
type Line struct {
	Label  string
	Points []Point // in order of X
}

// Point is one value; X is in the panel's XUnit.
type Point struct{ X, Y float64 }

const (
	lineHigh  = 170 // of a panel with lines
	legendTop = 12
)

// hues tell lines apart; the first is that of what the chart is about.
var hues = []string{"#1f6fb2", "#d1772a", "#3c8f4a", "#8a4fa3", "#a9b4c2", "#b33a3a"}

// drawLines puts a panel of lines at x, y and returns how high it is. Both axes
// begin at zero and are linear.
func (p Panel) drawLines(w *bytes.Buffer, x, y, label float64) float64 {
	top, wide := p.top(), p.wide()
	x0, y0, bottom := x+label, y+panelHead, y+panelHead+float64(lineHigh)
	at := func(q Point) (float64, float64) { return x0 + q.X/wide*barRoom, bottom - q.Y/top*lineHigh }
	text(w, "p", x, y+10, "start", p.Title)
	const ticks = 4
	for i := range ticks + 1 {
		v, t := top*float64(i)/ticks, wide*float64(i)/ticks
		_, high := at(Point{0, v})
		left, _ := at(Point{t, 0})
		fmt.Fprintf(w, "<path class=\"g\" d=\"M%.1f %.1fH%.1f\"/>\n", x0, high, x0+barRoom)
		text(w, "u", x0-6, high+4, "end", Number(v))
		text(w, "u", left, bottom+14, "middle", Number(t))
	}
	text(w, "u", x0+barRoom+26, bottom+14, "start", p.XUnit)
	text(w, "u", x0, y0-4, "start", p.Unit)
	for i, l := range p.Lines {
		hue := hues[i%len(hues)]
		var d strings.Builder
		for k, q := range l.Points {
			px, py := at(q)
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(k, 1)], px, py)
		}
		fmt.Fprintf(w, "<path fill=\"none\" stroke=%q stroke-width=\"1.6\" d=%q/>\n", hue, d.String())
		ly := y0 + legendTop + float64(i)*noteLine
		fmt.Fprintf(w, "<path stroke=%q stroke-width=\"3\" d=\"M%.1f %.1fh14\"/>\n", hue, x0+barRoom+8, ly-4)
		text(w, "u", x0+barRoom+26, ly, "start", l.Label)
	}
	fmt.Fprintf(w, "<path class=\"a\" fill=\"none\" d=\"M%.1f %.1fV%.1fH%.1f\"/>\n", x0, y0, bottom, x0+barRoom)
	return panelHead + lineHigh + axisLine
}

// wide is the end of the time axis.
func (p Panel) wide() float64 {
	var v float64
	for _, l := range p.Lines {
		for _, q := range l.Points {
			v = max(v, q.X)
		}
	}
	return round(v)
}
