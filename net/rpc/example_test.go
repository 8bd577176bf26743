package rpc_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"sigmaos/api"
	"sigmaos/net/rpc"
)

// A server with a method of each sort, and a caller.
func Example() {
	s := rpc.NewServer(rpc.Options{})
	s.Handle("upper", func(ctx context.Context, req *rpc.Request) ([]byte, error) {
		if len(req.Body) == 0 {
			return nil, api.E(api.Invalid, "upper", "", "there is no text; send some")
		}
		return []byte(strings.ToUpper(string(req.Body))), nil
	})
	s.HandleStream("count", func(ctx context.Context, st *rpc.Stream) error {
		for n := 0; ; n++ {
			if _, err := st.Recv(); err == io.EOF {
				return st.Send(fmt.Appendf(nil, "%d messages", n))
			} else if err != nil {
				return err
			}
		}
	})
	here, there := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- s.ServeConn(context.Background(), there, "who the transport says") }()

	c := rpc.NewClient(here, rpc.Options{})
	ctx := context.Background()
	fmt.Println(call(c.Call(ctx, "upper", []byte("text"))))
	fmt.Println(call(c.Call(ctx, "upper", nil)))
	st, err := c.Stream(ctx, "count")
	for range 3 {
		if err == nil {
			err = st.Send([]byte("one more"))
		}
	}
	st.CloseSend()
	fmt.Println(call(st.Recv()))
	c.Close()
	fmt.Println(<-served)
	// Output:
	// TEXT
	// invalid: upper: there is no text; send some
	// 3 messages
	// <nil>
}

func call(b []byte, err error) string {
	if err != nil {
		return fmt.Sprintf("%s: %v", api.KindOf(err), err)
	}
	return string(b)
}
