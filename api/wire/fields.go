package wire

import (
	"encoding/binary"
	"errors"
)

// Fields builds a payload.
type Fields []byte

// Bytes appends one field of raw bytes.
func (f *Fields) Bytes(tag uint8, v []byte) {
	*f = binary.LittleEndian.AppendUint32(*f, uint32(tag)|uint32(len(v))<<8)
	*f = append(*f, v...)
}

// String appends one field of text.
func (f *Fields) String(tag uint8, v string) {
	*f = binary.LittleEndian.AppendUint32(*f, uint32(tag)|uint32(len(v))<<8)
	*f = append(*f, v...)
}

// Int appends a number; zero is the default of every field and left out.
func (f *Fields) Int(tag uint8, v int64) {
	if v == 0 {
		return
	}
	*f = binary.LittleEndian.AppendUint32(*f, uint32(tag)|8<<8)
	*f = binary.LittleEndian.AppendUint64(*f, uint64(v))
}

var errField = errors.New("payload: a field runs past the end or has the wrong size")

// Each calls fn for every field of a payload in order.
func Each(payload []byte, fn func(tag uint8, v []byte) error) error {
	for len(payload) > 0 {
		if len(payload) < 4 {
			return errField
		}
		h := binary.LittleEndian.Uint32(payload)
		n := int(h >> 8)
		if n > len(payload)-4 {
			return errField
		}
		if err := fn(uint8(h), payload[4:4+n]); err != nil {
			return err
		}
		payload = payload[4+n:]
	}
	return nil
}

// Int reads a number field.
func Int(v []byte) (int64, error) {
	if len(v) != 8 {
		return 0, errField
	}
	return int64(binary.LittleEndian.Uint64(v)), nil
}
