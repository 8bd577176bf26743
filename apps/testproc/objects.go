package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"sigmaos/api"
	"sigmaos/sigma"
)

// objects does with a bucket what programs do.
func objects(ctx context.Context, bucket string) error {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // two parts
	if _, err := sigma.PutFile(ctx, bucket+"/small", []byte("small")); err != nil {
		return err
	}
	if _, err := sigma.PutFile(ctx, bucket+"/big", big); err != nil {
		return err
	}
	f, err := sigma.Create(ctx, bucket+"/streamed")
	if err != nil {
		return err
	}
	for i := range 16 {
		if _, err := f.Write(big[i<<20 : (i+1)<<20]); err != nil {
			return err
		}
	}
	if _, err := sigma.Stat(ctx, bucket+"/streamed"); api.KindOf(err) != api.NotFound {
		return fmt.Errorf("an object that is being written is seen: %v", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	for _, name := range []string{"big", "streamed"} {
		b, _, err := sigma.GetFile(ctx, bucket+"/"+name)
		if err != nil || !bytes.Equal(b, big) {
			return fmt.Errorf("%s has %d bytes, %v", name, len(b), err)
		}
	}
	if f, err = sigma.Open(ctx, bucket+"/big"); err != nil {
		return err
	}
	part := make([]byte, 20)
	if _, err := f.ReadAt(part, 9<<20-4); err != nil || !bytes.Equal(part, big[9<<20-4:][:20]) {
		return fmt.Errorf("a part of it is %q, %v", part, err)
	}
	f.Close()
	if f, err = sigma.Create(ctx, bucket+"/given-up"); err != nil {
		return err
	}
	f.Write(big[:1<<20])
	f.Abandon()
	list, err := sigma.ReadDir(ctx, bucket, "", 0)
	for _, i := range list {
		fmt.Println(i.Name(), i.Size())
	}
	for _, v := range os.Environ() { // nothing that a store's key would be in
		fmt.Println("env", v)
	}
	return err
}
