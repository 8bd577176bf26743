// Imgtest is a scaler that goes wrong in the ways that the words in an image's file
// ask for: panic, hungry, hang; once PATH hangs for the first that comes. Anything
// else it gives back as it is.
package main

import (
	"context"
	"strings"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/img"
)

var held [][]byte // by hungry

func main() { img.Main(scale) }

func scale(data []byte, o img.Options) ([]byte, img.Made, error) {
	word, rest, _ := strings.Cut(string(data), " ")
	switch word {
	case "panic":
		panic("this image is too much")
	case "hungry":
		for {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			held = append(held, b)
		}
	case "hang":
		select {}
	case "once":
		if _, err := sigma.PutFile(context.Background(), rest, nil, sigma.Exclusive()); err == nil || api.KindOf(err) != api.Exists {
			select {}
		}
	}
	return data, img.Made{From: "text", Format: "png", Width: 1, Height: 1}, nil
}
