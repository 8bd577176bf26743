package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Sizes in the picture's own pixels.
const (
	margin    = 24
	titleLine = 34
	panelHead = 26
	barLine   = 24
	barHigh   = 15
	axisLine  = 26
	noteLine  = 16
	gap       = 28  // between panels
	barRoom   = 300 // for the longest bar
	valueRoom = 70  // for the number behind it
	charWide  = 6.6 // of the labels' font, about
	noteWide  = 5.9
	titleWide = 9.6
)

const style = `text{font-family:system-ui,'DejaVu Sans',Arial,sans-serif;font-size:12px;fill:#222}
.t{font-size:17px;font-weight:600}.p{font-size:13px;font-weight:600}.u,.n{fill:#666;font-size:11px}
.a{stroke:#999}.g{stroke:#e4e4e4}.b{fill:#a9b4c2}.o{fill:#1f6fb2}.w{stroke:#333;fill:none}`

// Write draws the chart.
func (c Chart) Write(w io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	columns := 1
	if len(c.Panels) > 2 {
		columns = 2
	}
	label := 40.0
	for _, p := range c.Panels {
		for _, b := range p.Bars {
			label = max(label, charWide*float64(utf8.RuneCountInString(b.Label))+8)
		}
	}
	wide := label + barRoom + valueRoom
	for _, p := range c.Panels {
		for _, l := range p.Lines {
			wide = max(wide, label+barRoom+34+noteWide*float64(utf8.RuneCountInString(l.Label)))
		}
	}
	var body bytes.Buffer
	y := float64(margin + titleLine)
	for i := 0; i < len(c.Panels); i += columns {
		high := 0.0
		for k, p := range c.Panels[i:min(i+columns, len(c.Panels))] {
			h := p.draw(&body, margin+float64(k)*(wide+gap), y, label)
			high = max(high, h)
		}
		y += high + gap
	}
	for _, n := range c.Notes {
		text(&body, "n", margin, y, "start", n)
		y += noteLine
	}
	full := max(float64(columns)*wide+float64(columns-1)*gap, titleWide*float64(utf8.RuneCountInString(c.Title)))
	for _, n := range c.Notes {
		full = max(full, noteWide*float64(utf8.RuneCountInString(n)))
	}
	full += 2 * margin
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">
<title>%s</title>
<style>%s</style>
<rect width="100%%" height="100%%" fill="#fff"/>
`, full, y+margin/2, full, y+margin/2, escape(c.Title), style)
	if err != nil {
		return err
	}
	text(&body, "t", margin, margin+12, "start", c.Title)
	if _, err := w.Write(body.Bytes()); err != nil {
		return err
	}
	_, err = io.WriteString(w, "</svg>\n")
	return err
}

// draw puts a panel at x, y and returns how high it is.
func (p Panel) draw(w *bytes.Buffer, x, y, label float64) float64 {
	if len(p.Lines) > 0 {
		return p.drawLines(w, x, y, label)
	}
	top := p.top()
	x0, bottom := x+label, y+panelHead+float64(len(p.Bars))*barLine
	at := func(v float64) float64 { return x0 + v/top*barRoom }
	text(w, "p", x, y+10, "start", p.Title)
	const ticks = 4
	for i := range ticks + 1 {
		v := top * float64(i) / ticks
		fmt.Fprintf(w, "<path class=\"g\" d=\"M%.1f %.1fV%.1f\"/>\n", at(v), y+panelHead-6, bottom)
		text(w, "u", at(v), bottom+14, "middle", Number(v))
	}
	text(w, "u", x0+barRoom+26, bottom+14, "start", p.Unit)
	for i, b := range p.Bars {
		b.draw(w, x0, y+panelHead+float64(i)*barLine, at)
	}
	fmt.Fprintf(w, "<path class=\"a\" d=\"M%.1f %.1fV%.1f\"/>\n", x0, y+panelHead-6, bottom)
	return panelHead + float64(len(p.Bars))*barLine + axisLine
}

func (b Bar) draw(w *bytes.Buffer, x0, y float64, at func(float64) float64) {
	class := "b"
	if b.Ours {
		class = "o"
	}
	middle := y + barHigh/2.0
	text(w, "", x0-6, middle+4, "end", b.Label)
	fmt.Fprintf(w, "<rect class=%q x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>\n", class, x0, y, at(b.Value)-x0, barHigh)
	end := at(b.Value)
	if b.High > 0 {
		fmt.Fprintf(w, "<path class=\"w\" d=\"M%.1f %.1fH%.1fM%.1f %.1fv6M%.1f %.1fv6\"/>\n",
			at(b.Low), middle, at(b.High), at(b.Low), middle-3, at(b.High), middle-3)
		end = max(end, at(b.High))
	}
	text(w, "", end+6, middle+4, "start", Number(b.Value))
}

func text(w *bytes.Buffer, class string, x, y float64, anchor, s string) {
	fmt.Fprintf(w, "<text class=%q x=\"%.1f\" y=\"%.1f\" text-anchor=%q>%s</text>\n", class, x, y, anchor, escape(s))
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}
