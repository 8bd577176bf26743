package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"sigmaos/sigma"
)

// queries runs each in one session, and prints its rows or its error.
func queries(ctx context.Context, list []string) error {
	f, err := sigma.OpenFile(ctx, "/db/~local/session", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, q := range list {
		if _, err := io.WriteString(f, q); err != nil {
			return err
		}
		b, err := io.ReadAll(f)
		os.Stdout.Write(b)
		if err != nil {
			fmt.Println("error:", err)
		}
	}
	return nil
}
