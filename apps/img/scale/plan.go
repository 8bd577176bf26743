package scale

import (
	"image"

	"golang.org/x/image/draw"

	"sigmaos/api"
	"sigmaos/sigma/img"
)

// steps are the two that bring an image to size.
type steps struct {
	w, h   int // of the image
	block  int // side of the blocks that are averaged; 1 is none
	dw, dh int // of the result, before it is turned
}

// plan fits an image into the size that was asked for, and never makes it larger.
func plan(w, h int, o img.Options, turned int) (steps, error) {
	if w < 1 || h < 1 {
		return steps{}, api.E(api.Invalid, "scale", "", "an image of %d by %d has no pixels", w, h)
	}
	if o.Width < 1 || o.Height < 1 {
		return steps{}, api.E(api.Invalid, "scale", "", "a size of %d by %d", o.Width, o.Height)
	}
	if turned >= 5 {
		o.Width, o.Height = o.Height, o.Width
	}
	s := steps{w: w, h: h, dw: w, dh: h, block: 1}
	if w <= o.Width && h <= o.Height {
		return s, nil
	}
	if int64(w)*int64(o.Height) >= int64(h)*int64(o.Width) {
		s.dw, s.dh = o.Width, rounded(h, o.Width, w)
	} else {
		s.dw, s.dh = rounded(w, o.Height, h), o.Height
	}
	s.block = max(1, min(w/s.dw, h/s.dh)/2)
	return s, nil
}

// rounded is a*b/c to the nearest, at least 1.
func rounded(a, b, c int) int { return max(1, int((int64(a)*int64(b)+int64(c)/2)/int64(c))) }

// middle is the size between the steps.
func (s steps) middle() (w, h int) {
	return (s.w + s.block - 1) / s.block, (s.h + s.block - 1) / s.block
}

// scaled is how much memory the steps and the encoding after them take.
func (s steps) scaled() int64 {
	mw, mh := s.middle()
	strip := 4 * int64(s.w) * int64(s.block)
	middle := 4 * int64(mw) * int64(mh)
	weighed := 32 * int64(s.dw) * int64(mh) // what Catmull-Rom keeps between its two directions
	result := 4 * int64(s.dw) * int64(s.dh)
	return strip + middle + weighed + 4*result
}

// run is the steps. What it returns begins at (0, 0).
func (s steps) run(src image.Image) *image.RGBA {
	if s.block > 1 {
		src = average(src, s.block)
	}
	dst := image.NewRGBA(image.Rect(0, 0, s.dw, s.dh))
	if b := src.Bounds(); b.Dx() == s.dw && b.Dy() == s.dh {
		draw.Draw(dst, dst.Rect, src, b.Min, draw.Src)
		return dst
	}
	draw.CatmullRom.Scale(dst, dst.Rect, src, src.Bounds(), draw.Src, nil)
	return dst
}

// average makes a pixel of each block of k by k; those at the right and lower edge
// may be smaller. It works strip by strip, in the form for which draw is fast.
func average(src image.Image, k int) *image.RGBA {
	b := src.Bounds()
	w, h := (b.Dx()+k-1)/k, (b.Dy()+k-1)/k
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	strip := image.NewRGBA(image.Rect(0, 0, b.Dx(), k))
	sums := make([][4]uint32, w)
	for y := range h {
		rows := min(k, b.Dy()-y*k)
		draw.Draw(strip, image.Rect(0, 0, b.Dx(), rows), src, b.Min.Add(image.Pt(0, y*k)), draw.Src)
		clear(sums)
		for r := range rows {
			row := strip.Pix[r*strip.Stride:][:4*b.Dx()]
			for x := range w {
				sum, end := &sums[x], min((x+1)*k, b.Dx())
				for p := row[4*x*k : 4*end]; len(p) >= 4; p = p[4:] {
					sum[0] += uint32(p[0])
					sum[1] += uint32(p[1])
					sum[2] += uint32(p[2])
					sum[3] += uint32(p[3])
				}
			}
		}
		out := dst.Pix[y*dst.Stride:]
		for x := range w {
			n := uint32(rows * (min((x+1)*k, b.Dx()) - x*k))
			for c := range 4 {
				out[4*x+c] = uint8((sums[x][c] + n/2) / n)
			}
		}
	}
	return dst
}
