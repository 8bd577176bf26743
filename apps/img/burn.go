package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"sync/atomic"

	"sigmaos/apps/img/scale"
	"sigmaos/sigma"
	"sigmaos/sigma/img"
)

// burn scales one image until somebody asks this proc to end. Without a path it
// draws one, of the size of a small photograph.
func burn(args []string) error {
	ctx := context.Background()
	o := img.Options{Width: 640, Height: 640, Quality: 85}
	var err error
	if len(args) == 2 {
		if o.Width, o.Height, err = img.ParseSize(args[1]); err != nil {
			return err
		}
	}
	var data []byte
	if len(args) > 0 {
		data, _, err = sigma.GetFile(ctx, args[0])
	} else {
		data, err = drawn(1600, 1200)
	}
	if err == nil {
		_, _, err = scale.Image(data, o) // before it says that it is ready
	}
	if err != nil {
		return err
	}
	if err := sigma.Started(ctx); err != nil {
		return err
	}
	var count atomic.Int64
	go func() {
		if _, _, err := sigma.WaitKill(ctx); err == nil {
			n := count.Load()
			sigma.Exited(sigma.Status{Message: fmt.Sprintf("%d images", n), Data: fmt.Append(nil, n)})
			os.Exit(0)
		}
	}()
	for {
		if _, _, err := scale.Image(data, o); err != nil {
			return err
		}
		count.Add(1)
	}
}

// drawn is a JPEG with something in all of its blocks.
func drawn(w, h int) ([]byte, error) {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := 128 + 90*math.Sin(float64(x*x+y*y)/9000)
			m.SetRGBA(x, y, color.RGBA{uint8(v), uint8(x * 255 / w), uint8(y * 255 / h), 255})
		}
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90})
	return b.Bytes(), err
}
