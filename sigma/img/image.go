package img

import (
	"fmt"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
)

// Options say what is to be made of an image.
type Options struct {
	Width   int    `json:"width"` // the result fits into Width by Height, and is never larger than the image
	Height  int    `json:"height"`
	Format  string `json:"format,omitempty"`  // jpeg or png; "": what suits the image
	Quality int    `json:"quality,omitempty"` // of a JPEG, 1 to 100; 85
	Memory  int64  `json:"memory,omitempty"`  // that decoding and scaling may take
}

// Most that can be asked for.
const maxSide = 16384

func (o *Options) normalize(subject string) error {
	job.Default(&o.Quality, 85)
	switch {
	case o.Width < 1 || o.Height < 1 || o.Width > maxSide || o.Height > maxSide:
		return api.E(api.Invalid, "img", subject, "a size of %d by %d; each side is 1 to %d", o.Width, o.Height, maxSide)
	case o.Format != "" && o.Format != "jpeg" && o.Format != "png":
		return api.E(api.Invalid, "img", subject, "format %q; jpeg and png can be written", o.Format)
	case o.Quality < 1 || o.Quality > 100:
		return api.E(api.Invalid, "img", subject, "quality %d; 1 to 100", o.Quality)
	}
	return nil
}

// Made says what an image was and what became of it.
type Made struct {
	From       string `json:"from,omitempty"` // format of the image
	FromWidth  int    `json:"fromWidth,omitempty"`
	FromHeight int    `json:"fromHeight,omitempty"`
	Format     string `json:"format,omitempty"`
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`
}

// Func scales an image. An error of kind Invalid, TooLarge or Unsupported is about
// the image and would be the same next time.
type Func func(data []byte, o Options) (out []byte, m Made, err error)

// Result is what is known of one image when it is done with.
type Result struct {
	Name  string `json:"name"`            // below the job's input
	Out   string `json:"out,omitempty"`   // the file that was written
	Error string `json:"error,omitempty"` // why there is none
	Made
	InBytes  int64 `json:"in,omitempty"`
	OutBytes int64 `json:"outBytes,omitempty"`

	Attempts int           `json:"attempts,omitempty"`
	Start    time.Duration `json:"start,omitempty"` // from Spawn to the first line of the worker
	Read     time.Duration `json:"read,omitempty"`
	Scale    time.Duration `json:"scale,omitempty"` // decoding, scaling, encoding
	Write    time.Duration `json:"write,omitempty"`
	Wall     time.Duration `json:"wall,omitempty"` // from the first line of the worker to its result
	CPU      time.Duration `json:"cpu,omitempty"`  // of the whole worker
	RSS      int64         `json:"rss,omitempty"`  // at its highest
}

// Size writes two sides as they are typed.
func Size(w, h int) string { return fmt.Sprintf("%dx%d", w, h) }

// ParseSize reads what Size writes.
func ParseSize(s string) (w, h int, err error) {
	var rest string
	if n, _ := fmt.Sscanf(s, "%dx%d%s", &w, &h, &rest); n != 2 || w < 1 || h < 1 || w > maxSide || h > maxSide {
		return 0, 0, api.E(api.Invalid, "img", s, "want WIDTHxHEIGHT, as 640x640, each 1 to %d", maxSide)
	}
	return w, h, nil
}
