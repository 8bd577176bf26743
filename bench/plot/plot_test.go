package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// element is what these tests look at in the picture.
type element struct {
	name string
	attr map[string]string
	text string
}

// parse reads a picture as XML; a broken one fails the test.
func parse(t *testing.T, svg []byte) (out []element) {
	t.Helper()
	dec := xml.NewDecoder(bytes.NewReader(svg))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v\n%s", err, svg)
		}
		switch x := tok.(type) {
		case xml.StartElement:
			e := element{name: x.Name.Local, attr: map[string]string{}}
			for _, a := range x.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			out = append(out, e)
		case xml.CharData:
			if len(out) > 0 {
				out[len(out)-1].text += string(x)
			}
		}
	}
}

func draw(t *testing.T, c Chart) []element {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatalf("Write() = %v", err)
	}
	return parse(t, b.Bytes())
}

// widths are those of the bars, in order.
func widths(t *testing.T, elements []element) (out []float64) {
	t.Helper()
	for _, e := range elements {
		if e.name == "rect" && (e.attr["class"] == "b" || e.attr["class"] == "o") {
			w, err := strconv.ParseFloat(e.attr["width"], 64)
			if err != nil {
				t.Fatalf("a bar is %q wide", e.attr["width"])
			}
			out = append(out, w)
		}
	}
	return out
}

func TestBarsAreInProportionFromZero(t *testing.T) {
	c := Chart{Title: "t", Panels: []Panel{{Title: "p", Unit: "ms", Bars: []Bar{{Label: "a", Value: 1}, {Label: "b", Value: 4, Ours: true}, {Label: "c"}}}}}
	w := widths(t, draw(t, c))
	if len(w) != 3 || math.Abs(w[1]-4*w[0]) > 0.3 || w[2] != 0 {
		t.Errorf("bars of 1, 4 and 0 are %v wide; want the second four times the first, and the third nothing", w)
	}
}

func TestEveryValueIsWritten(t *testing.T) {
	c := Chart{Title: "two <b> & more", Notes: []string{"measured \"here\""}, Panels: []Panel{
		{Title: "p", Unit: "µs", Bars: []Bar{{Label: "σEP", Value: 12.34}, {Label: "a<b", Value: 0.0456, Low: 0.04, High: 0.05}}},
	}}
	var all []string
	for _, e := range draw(t, c) {
		all = append(all, strings.TrimSpace(e.text))
	}
	for _, want := range []string{"two <b> & more", "measured \"here\"", "σEP", "12.3", "a<b", "0.0456", "µs"} {
		found := false
		for _, s := range all {
			found = found || s == want
		}
		if !found {
			t.Errorf("no text %q in the picture; there are %q", want, all)
		}
	}
}

func TestNothingIsOutsideThePicture(t *testing.T) {
	var panels []Panel
	for range 5 {
		panels = append(panels, Panel{Title: "p", Unit: "Gbit/s", Bars: []Bar{{Label: strings.Repeat("long ", 8), Value: 999, Low: 1, High: 1000}, {Label: "x", Value: 3}}})
	}
	for _, c := range []Chart{
		{Title: "t", Panels: panels, Notes: []string{"n"}}, {Title: "t", Panels: panels[:1], Notes: []string{strings.Repeat("a long note ", 20)}},
		{Title: strings.Repeat("a long title ", 20), Panels: panels[:2]},
	} {
		inside(t, draw(t, c))
	}
}

// inside fails the test for what is outside of the picture.
func inside(t *testing.T, elements []element) {
	t.Helper()
	wide, _ := strconv.ParseFloat(elements[0].attr["width"], 64)
	high, _ := strconv.ParseFloat(elements[0].attr["height"], 64)
	for _, e := range elements[1:] {
		if e.name != "text" && (e.name != "rect" || e.attr["x"] == "") {
			continue
		}
		x, _ := strconv.ParseFloat(e.attr["x"], 64)
		y, _ := strconv.ParseFloat(e.attr["y"], 64)
		w, _ := strconv.ParseFloat(e.attr["width"], 64)
		if e.attr["text-anchor"] == "start" {
			w = 5.5 * float64(utf8.RuneCountInString(strings.TrimSpace(e.text)))
		}
		if x < 0 || y < 0 || x+w > wide || y > high {
			t.Errorf("%s %q at %v, %v, %v wide, is outside of %v x %v", e.name, e.text, x, y, w, wide, high)
		}
	}
}

func TestValuesThatNoBarShowsAreErrors(t *testing.T) {
	for name, b := range map[string]Bar{
		"negative": {Value: -1}, "infinite": {Value: math.Inf(1)}, "not a number": {Value: math.NaN()}, "whisker": {Value: 1, Low: 0, High: math.Inf(1)},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := Chart{Panels: []Panel{{Bars: []Bar{b}}}}.Write(&out)
			if err == nil || out.Len() > 0 {
				t.Errorf("Write(%+v) = %v and %d bytes; want an error and nothing", b, err, out.Len())
			}
		})
	}
}

func TestTopIsRoundAndAboveAll(t *testing.T) {
	for _, c := range []struct{ value, high, want float64 }{
		{0, 0, 1}, {1, 0, 1}, {1.01, 0, 1.2}, {7, 7.9, 8}, {9, 0, 10}, {0.031, 0.034, 0.04}, {3900, 4100, 6000},
	} {
		got := Panel{Bars: []Bar{{Value: c.value, High: c.high}}}.top()
		if math.Abs(got-c.want) > 1e-9*c.want {
			t.Errorf("top of %v and %v = %v, want %v", c.value, c.high, got, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.01234: "0.0123", 1.5: "1.50", 42.42: "42.4", 1536.4: "1536"} {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) = %q, want %q", v, got, want)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestAWriterThatFailsIsReported(t *testing.T) {
	if err := (Chart{Title: "t"}).Write(broken{}); err == nil {
		t.Error("Write to a broken writer = nil")
	}
}
