// Package fileserver lets a proc serve a part of its realm's name space: it
// listens on an endpoint, publishes that at a path, and whoever walks through the
// path reads and writes the files that this proc gives.
//
//	lis, ep, err := sigma.NewEndpoint(ctx)
//	err = sigma.Publish(ctx, "/memfs", ep)
//	err = fileserver.Serve(ctx, lis, fileserver.NewMemory())
//
// [NewMemory] is a tree in memory; a tree of one's own implements [FS].
package fileserver

import (
	"context"
	"errors"
	"net"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
	"sigmaos/sigma"
)

// What a server of one's own is made of: see package naming/tree.
type (
	FS       = tree.FS
	File     = tree.File
	Handle   = tree.Handle
	Attr     = tree.Attr
	Dirent   = tree.Dirent
	OpenMode = tree.OpenMode
	NewFile  = tree.NewFile
	Put      = tree.Put
	SetAttr  = tree.SetAttr
	Event    = tree.Event
	Fence    = tree.Fence
	Caller   = api.Caller
)

// NewMemory is an empty tree in this proc's memory, in which every user of the
// realm may make files.
func NewMemory() FS { return memfs.New(memfs.Options{}) }

// Serve serves fs on a listener until that is closed or ctx ends, and returns
// when no request runs any more. Who asks is known from the connection.
func Serve(ctx context.Context, lis net.Listener, fs FS) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { lis.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := lis.Accept()
		if err != nil {
			cancel()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		p, _ := sigma.PeerOf(conn)
		wg.Go(func() {
			ninep.Serve(ctx, conn, api.Caller{Realm: p.Realm, User: p.User, Proc: p.Proc, Node: p.Node, Address: p.Address}, fs, ninep.Options{})
		})
	}
}
