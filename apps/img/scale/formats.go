package scale

import (
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"

	"sigmaos/api"
)

// format is a kind of file that can be read.
type format struct {
	name   string
	magic  string // ? is any byte
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	photo  bool // it holds photographs rather than drawings: what is made of it is a JPEG
}

var formats = []format{
	{"jpeg", "\xff\xd8", jpeg.DecodeConfig, jpeg.Decode, true},
	{"png", "\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode, false},
	{"gif", "GIF8?a", gif.DecodeConfig, gif.Decode, false},
	{"webp", "RIFF????WEBPVP8", webp.DecodeConfig, webp.Decode, true},
	{"bmp", "BM????\x00\x00\x00\x00", bmp.DecodeConfig, bmp.Decode, true},
}

// sniff tells the format by the first bytes; a file's name means nothing.
func sniff(data []byte) (format, error) {
	for _, f := range formats {
		if matches(f.magic, data) {
			return f, nil
		}
	}
	if len(data) == 0 {
		return format{}, api.E(api.Invalid, "decode", "", "the file is empty")
	}
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return format{}, api.E(api.Invalid, "decode", "", "it is no image of a known format (%s)", strings.Join(names, ", "))
}

func matches(magic string, data []byte) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}

// suits is the format of the result when none was asked for.
func (f format) suits(m *image.RGBA) string {
	if f.photo && m.Opaque() {
		return "jpeg"
	}
	return "png"
}

// decoded is how much memory the decoder takes at its worst.
func (f format) decoded(c image.Config, h header, data []byte) int64 {
	pixels := int64(c.Width) * int64(c.Height)
	switch f.name {
	case "jpeg": // whole blocks, of up to 32 pixels
		n := h.perPixel
		if c.ColorModel == color.RGBAModel { // converted
			n += 4
		}
		return int64(float64(c.Width+32) * float64(c.Height+32) * n)
	case "png":
		n := 4 * pixels
		switch c.ColorModel {
		case color.RGBA64Model, color.NRGBA64Model, color.Gray16Model:
			n *= 2
		}
		if len(data) > 28 && data[28] != 0 { // interlaced: each pass is an image too
			n *= 2
		}
		return n
	case "gif":
		return 2 * pixels
	case "webp": // the lossless kind: pixels, transformed ones, tables
		return 12 * pixels
	}
	return 4 * pixels
}
