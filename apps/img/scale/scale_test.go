package scale

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"testing"

	"golang.org/x/image/bmp"

	"sigmaos/api"
	"sigmaos/sigma/img"
)

// quarters is an image whose four quarters are red, green, blue and white, so that
// one sees which way up it is.
func quarters(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	colors := []color.RGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}}
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, colors[min(2*x/w, 1)+2*min(2*y/h, 1)])
		}
	}
	return m
}

// corners are the colors in the middles of the four quarters, as letters.
func corners(m image.Image) string {
	b := m.Bounds()
	out := ""
	for _, p := range []image.Point{{1, 1}, {3, 1}, {1, 3}, {3, 3}} {
		r, g, bl, _ := m.At(b.Min.X+p.X*b.Dx()/4, b.Min.Y+p.Y*b.Dy()/4).RGBA()
		switch hi := func(v uint32) bool { return v > 0x8000 }; {
		case hi(r) && hi(g) && hi(bl):
			out += "W"
		case hi(r):
			out += "R"
		case hi(g):
			out += "G"
		case hi(bl):
			out += "B"
		default:
			out += "?"
		}
	}
	return out
}

func encoded(t *testing.T, format string, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch format {
	case "jpeg":
		err = jpeg.Encode(&b, m, nil)
	case "png":
		err = png.Encode(&b, m)
	case "gif":
		err = gif.Encode(&b, m, nil)
	case "bmp":
		err = bmp.Encode(&b, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSizeAndContent(t *testing.T) {
	for _, tt := range []struct {
		from         string
		w, h         int
		o            img.Options
		format       string
		wantW, wantH int
	}{
		{"jpeg", 1600, 1200, img.Options{Width: 640, Height: 640}, "jpeg", 640, 480},
		{"jpeg", 300, 900, img.Options{Width: 100, Height: 100}, "jpeg", 33, 100},
		{"jpeg", 100, 80, img.Options{Width: 640, Height: 640}, "jpeg", 100, 80},
		{"png", 1003, 997, img.Options{Width: 64, Height: 64}, "png", 64, 64},
		{"png", 4000, 40, img.Options{Width: 100, Height: 100}, "png", 100, 1},
		{"png", 640, 480, img.Options{Width: 320, Height: 999, Format: "jpeg"}, "jpeg", 320, 240},
		{"gif", 500, 500, img.Options{Width: 120, Height: 90}, "png", 90, 90},
		{"bmp", 200, 100, img.Options{Width: 50, Height: 50}, "jpeg", 50, 25},
		{"jpeg", 200, 100, img.Options{Width: 50, Height: 50, Format: "png"}, "png", 50, 25},
	} {
		tt.o.Quality = 85
		out, m, err := Image(encoded(t, tt.from, quarters(tt.w, tt.h)), tt.o)
		if err != nil {
			t.Errorf("%s %dx%d: %v", tt.from, tt.w, tt.h, err)
			continue
		}
		got, format, err := image.Decode(bytes.NewReader(out))
		if err != nil {
			t.Errorf("%s %dx%d: the result: %v", tt.from, tt.w, tt.h, err)
			continue
		}
		want := img.Made{From: tt.from, FromWidth: tt.w, FromHeight: tt.h, Format: tt.format, Width: tt.wantW, Height: tt.wantH}
		if m != want || format != tt.format || got.Bounds() != image.Rect(0, 0, tt.wantW, tt.wantH) {
			t.Errorf("%s %dx%d into %dx%d: %+v, a %s of %v; want %+v", tt.from, tt.w, tt.h, tt.o.Width, tt.o.Height, m, format, got.Bounds(), want)
		}
		if c := corners(got); tt.wantH > 8 && c != "RGBW" {
			t.Errorf("%s %dx%d: quarters %s, want RGBW", tt.from, tt.w, tt.h, c)
		}
	}
}

// In two steps an image becomes what it becomes in one, but for rounding.
func TestTwoStepsAreAsGoodAsOne(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 960, 720))
	for y := range 720 {
		for x := range 960 {
			v := uint8(128 + 100*math.Sin(float64(x)/40)*math.Cos(float64(y)/30))
			m.SetRGBA(x, y, color.RGBA{v, uint8(x / 4), uint8(y / 3), 255})
		}
	}
	s, err := plan(960, 720, img.Options{Width: 80, Height: 80}, 1)
	if err != nil || s.block < 2 {
		t.Fatalf("%+v, %v: want blocks", s, err)
	}
	two := s.run(m)
	s.block = 1
	one := s.run(m)
	worst := 0
	for i := range two.Pix {
		worst = max(worst, int(two.Pix[i])-int(one.Pix[i]), int(one.Pix[i])-int(two.Pix[i]))
	}
	if worst > 6 {
		t.Errorf("the two differ by %d of 255", worst)
	}
}

// withEXIF puts an orientation into a JPEG.
func withEXIF(data []byte, order binary.AppendByteOrder, mark string, v uint16) []byte {
	e := append([]byte("Exif\x00\x00"), mark...)
	e = order.AppendUint32(order.AppendUint16(e, 42), 8)
	e = order.AppendUint16(e, 1)
	e = order.AppendUint16(order.AppendUint16(e, 0x0112), 3)
	e = order.AppendUint16(order.AppendUint32(e, 1), v)
	e = append(e, 0, 0, 0, 0, 0, 0)
	out := append([]byte{0xff, 0xd8, 0xff, 0xe1}, binary.BigEndian.AppendUint16(nil, uint16(len(e)+2))...)
	return append(append(out, e...), data[2:]...)
}

func TestOrientation(t *testing.T) {
	data := encoded(t, "jpeg", quarters(400, 200))
	for v, want := range []string{1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR", 8: "GWRB", 9: "RGBW"} {
		if v == 0 {
			continue
		}
		for mark, order := range map[string]binary.AppendByteOrder{"MM": binary.BigEndian, "II": binary.LittleEndian} {
			out, m, err := Image(withEXIF(data, order, mark, uint16(v)), img.Options{Width: 100, Height: 60, Quality: 90})
			if err != nil {
				t.Errorf("orientation %d: %v", v, err)
				continue
			}
			w, h := 100, 50
			if v >= 5 && v <= 8 {
				w, h = 30, 60
			}
			got, _, err := image.Decode(bytes.NewReader(out))
			if err != nil || corners(got) != want || m.Width != w || m.Height != h {
				t.Errorf("orientation %d (%s): %s of %dx%d, %v; want %s of %dx%d", v, mark, corners(got), m.Width, m.Height, err, want, w, h)
			}
		}
	}
}

// bomb is a PNG of so many pixels, none of which are there.
func bomb(w, h uint32) []byte {
	head := append([]byte("IHDR"), binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)...)
	head = append(head, 8, 6, 0, 0, 0)
	out := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), uint32(len(head)-4))
	out = append(out, head...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(head))
}

func TestRefused(t *testing.T) {
	photo := encoded(t, "jpeg", quarters(2000, 1500))
	o := img.Options{Width: 64, Height: 64, Quality: 85, Memory: 64 << 20}
	small := o
	small.Memory = 4 << 20
	for _, tt := range []struct {
		name string
		data []byte
		o    img.Options
		kind api.Kind
	}{
		{"nothing", nil, o, api.Invalid},
		{"text", []byte("this is no image"), o, api.Invalid},
		{"a header alone", photo[:20], o, api.Invalid},
		{"half of a png", encoded(t, "png", quarters(300, 300))[:600], o, api.Invalid},
		{"a bomb", bomb(50000, 50000), o, api.TooLarge},
		{"a bomb of the largest size", bomb(1<<31-1, 1<<31-1), o, api.Invalid},
		{"more than the memory", photo, small, api.TooLarge},
		{"no size", photo, img.Options{Memory: 64 << 20}, api.Invalid},
	} {
		if _, _, err := Image(tt.data, tt.o); api.KindOf(err) != tt.kind {
			t.Errorf("%s: %v (%s), want kind %s", tt.name, err, api.KindOf(err), tt.kind)
		}
	}
}

// A transparent image stays so as a PNG, and is on white as a JPEG.
func TestTransparency(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 100, 100))
	data := encoded(t, "png", m)
	for format, want := range map[string]uint32{"png": 0, "jpeg": 0xffff} {
		out, _, err := Image(data, img.Options{Width: 10, Height: 10, Format: format, Quality: 85})
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := image.Decode(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if r, _, _, a := got.At(5, 5).RGBA(); a != want || r < want-0x300 && want > 0 {
			t.Errorf("%s: red %x, alpha %x; want %x", format, r, a, want)
		}
	}
}

func FuzzImage(f *testing.F) {
	var b bytes.Buffer
	m := quarters(40, 30)
	jpeg.Encode(&b, m, nil)
	f.Add(withEXIF(b.Bytes(), binary.BigEndian, "MM", 6))
	b = bytes.Buffer{}
	png.Encode(&b, m)
	f.Add(b.Bytes())
	b = bytes.Buffer{}
	gif.Encode(&b, m, nil)
	f.Add(b.Bytes())
	f.Add(bomb(9, 9))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, made, err := Image(data, img.Options{Width: 16, Height: 16, Quality: 85, Memory: 8 << 20})
		if err == nil && (len(out) == 0 || made.Width > 16 || made.Height > 16) {
			t.Errorf("%+v of %d bytes, without an error", made, len(out))
		}
	})
}
