package main

// A word is a run of ASCII letters, digits and bytes above 127, so that text in
// UTF-8 has the words that it should, and any other bytes have some.
var inWord = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 0x80:
			t[c] = byte(c)
		case c >= 'A' && c <= 'Z':
			t[c] = byte(c) + 'a' - 'A'
		}
	}
	return t
}()

// eachWord calls fn with each word of text, in small letters; it changes text.
func eachWord(text []byte, fn func(word []byte)) {
	begin := -1
	for i, c := range text {
		if l := inWord[c]; l != 0 {
			text[i] = l
			if begin < 0 {
				begin = i
			}
		} else if begin >= 0 {
			fn(text[begin:i])
			begin = -1
		}
	}
	if begin >= 0 {
		fn(text[begin:])
	}
}
