package scale

import (
	"bytes"
	"encoding/binary"
)

// header is what the decoder of the standard library does not tell of a JPEG.
type header struct {
	perPixel float64 // bytes that decoding takes, before a conversion from RGB
	turn     int     // EXIF orientation, 1 to 8
}

// worst is for a header that cannot be understood: four whole components, kept as
// coefficients, decoded, and converted.
const worst = 4*5 + 8

// readHeader walks the segments up to the frame's.
func readHeader(data []byte) header {
	h := header{perPixel: worst, turn: 1}
	for p := 2; p+4 <= len(data); {
		if data[p] != 0xff {
			return h
		}
		kind := data[p+1]
		if kind == 0xff { // filling
			p++
			continue
		}
		if kind == 0x01 || kind >= 0xd0 && kind <= 0xd9 { // without a body
			p += 2
			continue
		}
		end := p + 2 + int(binary.BigEndian.Uint16(data[p+2:]))
		if end < p+4 || end > len(data) {
			return h
		}
		body := data[p+4 : end]
		switch kind {
		case 0xe1:
			if t := orientation(body); t != 0 {
				h.turn = t
			}
		case 0xc0, 0xc1, 0xc2:
			h.perPixel = perPixel(body, kind == 0xc2)
			return h
		case 0xda:
			return h
		}
		p = end
	}
	return h
}

// perPixel reads the frame's components: how many samples a pixel has, and how much
// each of them takes. A progressive image is kept as coefficients of four bytes
// until its end.
func perPixel(sof []byte, progressive bool) float64 {
	if len(sof) < 6 || len(sof) < 6+3*int(sof[5]) {
		return worst
	}
	n := int(sof[5])
	sum := 0
	area := func(i int) int { return int(sof[7+3*i]>>4) * int(sof[7+3*i]&15) }
	for i := range n {
		sum += area(i)
	}
	if n == 0 || area(0) == 0 {
		return worst
	}
	samples := float64(sum) / float64(area(0)) // the decoder takes the first for whole
	bytes := samples
	if progressive {
		bytes += 4 * samples
	}
	if n == 4 { // converted
		bytes += 8
	}
	return bytes
}

// orientation finds the tag in an EXIF segment; 0 is none.
func orientation(b []byte) int {
	b, ok := bytes.CutPrefix(b, []byte("Exif\x00\x00"))
	if !ok || len(b) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.BigEndian
	if b[0] == 'I' {
		order = binary.LittleEndian
	}
	at := order.Uint32(b[4:])
	if order.Uint16(b[2:]) != 42 || uint64(at)+2 > uint64(len(b)) {
		return 0
	}
	count := int(order.Uint16(b[at:]))
	for e := b[at+2:]; count > 0 && len(e) >= 12; e, count = e[12:], count-1 {
		if order.Uint16(e) != 0x0112 || order.Uint16(e[2:]) != 3 {
			continue
		}
		if v := int(order.Uint16(e[8:])); v >= 1 && v <= 8 {
			return v
		}
		return 0
	}
	return 0
}
