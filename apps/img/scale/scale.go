// Package scale makes small images of large ones, in bounded memory.
//
// JPEG, PNG, GIF (its first frame), WebP and BMP are read; JPEG and PNG are
// written. What an image would take is worked out from its header, before anything
// is decoded, and more than Options.Memory is refused. Large reductions go in two
// steps, as fast and as good as one: blocks of pixels are averaged until twice to
// four times the wanted size is left, which Catmull-Rom then brings to size. The
// camera's orientation (EXIF) is applied, since the result does not carry it.
package scale

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/draw"

	"sigmaos/api"
	"sigmaos/sigma/img"
)

// Image is the img.Func of this package.
func Image(data []byte, o img.Options) ([]byte, img.Made, error) {
	f, err := sniff(data)
	if err != nil {
		return nil, img.Made{}, err
	}
	c, err := f.config(bytes.NewReader(data))
	if err != nil {
		return nil, img.Made{}, api.E(api.Invalid, "decode", f.name, "its header is broken: %v", err)
	}
	m := img.Made{From: f.name, FromWidth: c.Width, FromHeight: c.Height}
	head := header{turn: 1}
	if f.name == "jpeg" {
		head = readHeader(data)
	}
	p, err := plan(c.Width, c.Height, o, head.turn)
	if err != nil {
		return nil, m, err
	}
	if n := f.decoded(c, head, data) + p.scaled() + int64(len(data)); o.Memory > 0 && n > o.Memory {
		return nil, m, api.E(api.TooLarge, "decode", f.name, "%d by %d pixels need up to %d MiB; %d MiB are there for it", c.Width, c.Height, n>>20, o.Memory>>20)
	}
	src, err := f.decode(bytes.NewReader(data))
	if err != nil {
		return nil, m, api.E(api.Invalid, "decode", f.name, "%v", err)
	}
	if b := src.Bounds(); b.Dx() > c.Width || b.Dy() > c.Height {
		return nil, m, api.E(api.Invalid, "decode", f.name, "it is larger than its header says")
	} else if b.Dx() != c.Width || b.Dy() != c.Height { // the first frame of a GIF
		if p, err = plan(b.Dx(), b.Dy(), o, head.turn); err != nil {
			return nil, m, err
		}
	}
	dst := turn(p.run(src), head.turn)
	m.Width, m.Height = dst.Rect.Dx(), dst.Rect.Dy()
	m.Format = o.Format
	if m.Format == "" {
		m.Format = f.suits(dst)
	}
	out, err := encode(dst, m.Format, o.Quality)
	return out, m, err
}

func encode(m *image.RGBA, format string, quality int) ([]byte, error) {
	var b bytes.Buffer
	if format == "png" {
		err := png.Encode(&b, m)
		return b.Bytes(), err
	}
	if !m.Opaque() { // a JPEG has no transparency: white shines through
		white := image.NewRGBA(m.Rect)
		draw.Draw(white, white.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
		draw.Draw(white, white.Rect, m, m.Rect.Min, draw.Over)
		m = white
	}
	err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality})
	return b.Bytes(), err
}
