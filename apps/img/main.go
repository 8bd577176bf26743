// Img scales images: sigmactl img starts it as the procs of a job or a service.
// By itself it does
//
//	img scale WxH IN OUT      one image, on files of the machine
//	img burn [PATH] [WxH]     in a proc: the same image again and again until it is
//	                          asked to end, as load; its message is how often
package main

import (
	"fmt"
	"os"

	"sigmaos/apps/img/scale"
	"sigmaos/sigma/img"
)

func main() {
	img.Main(scale.Image)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "img:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "scale":
		return file(args[1], args[2], args[3])
	case len(args) >= 1 && len(args) <= 3 && args[0] == "burn":
		return burn(args[1:])
	}
	return fmt.Errorf("want scale WxH IN OUT, or burn [PATH] [WxH], not %q (sigmactl img --help has the rest)", args)
}

// file scales one file of the machine.
func file(size, in, out string) error {
	w, h, err := img.ParseSize(size)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	small, m, err := scale.Image(data, img.Options{Width: w, Height: h, Quality: 85, Memory: 2 << 30})
	if err != nil {
		return err
	}
	fmt.Printf("%s %s → %s %s\n", m.From, img.Size(m.FromWidth, m.FromHeight), m.Format, img.Size(m.Width, m.Height))
	return os.WriteFile(out, small, 0o644)
}
