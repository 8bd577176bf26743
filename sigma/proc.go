package sigma

import (
	"context"
	"fmt"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// The nouns of package api, under the names that programs use.
type (
	Desc   = api.ProcDesc
	Status = api.Status
	ProcID = api.ProcID
)

// The classes of a Desc.
const (
	BE = api.BE
	LC = api.LC
)

// DefaultGrace asks Kill for the usual time between asking and force.
const DefaultGrace time.Duration = -1

// ExitError is what WaitStart returns for a proc that ended before it said
// Started.
type ExitError struct {
	ID     ProcID
	Status Status
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("waitstart %s: it ended before it said Started: %v", e.ID, e.Status)
}

// Spawn queues a proc and returns its id at once.
func (c *Client) Spawn(ctx context.Context, d *Desc) (ProcID, error) {
	p, err := c.ask(ctx, wire.TSpawn, wire.EncodeDesc(d))
	if err != nil {
		return "", err
	}
	t, err := wire.DecodeTarget(p)
	return ProcID(t.ID), err
}

// WaitStart returns when the proc said Started; an *ExitError if it never will.
func (c *Client) WaitStart(ctx context.Context, id ProcID) error {
	p, err := c.ask(ctx, wire.TWaitStart, wire.Target{ID: string(id)}.Encode())
	if err != nil || len(p) == 0 {
		return err
	}
	st, err := wire.DecodeStatus(p)
	if err != nil {
		return err
	}
	return &ExitError{id, st}
}

// WaitExit returns the proc's one final status. The error is about the wait:
// a proc that failed is no error here.
func (c *Client) WaitExit(ctx context.Context, id ProcID) (Status, error) {
	p, err := c.ask(ctx, wire.TWaitExit, wire.Target{ID: string(id)}.Encode())
	if err != nil {
		return Status{}, err
	}
	return wire.DecodeStatus(p)
}

// Kill asks the proc to end (its WaitKill returns) and ends it by force after
// grace: 0 is at once, DefaultGrace 5 s. It returns when the ask was taken.
func (c *Client) Kill(ctx context.Context, id ProcID, grace time.Duration) error {
	ms := grace.Milliseconds()
	if grace < 0 {
		ms = -1
	} else if grace > 0 && ms == 0 {
		ms = 1
	}
	_, err := c.ask(ctx, wire.TKill, wire.Target{ID: string(id), GraceMS: ms}.Encode())
	return err
}

// Started says that this proc is ready.
func (c *Client) Started(ctx context.Context) error {
	return c.tell(ctx, wire.Frame{Type: wire.TStarted})
}

// Exited reports this proc's end: Code, Message and Data of st. The proc then
// leaves by itself; a code that is not 0 should also be its exit status.
func (c *Client) Exited(st Status) error {
	e := wire.Exit{Code: int64(st.Code), Message: st.Message, Data: st.Data}
	if len(e.Data) > api.MaxData || len(e.Message) > api.MaxMessage {
		return api.E(api.TooLarge, "exited", "", "at most %d bytes of message and %d of data", api.MaxMessage, api.MaxData)
	}
	return c.tell(context.Background(), wire.Frame{Type: wire.TExited, Payload: e.Encode()})
}

// WaitKill returns when somebody asks this proc to end: why, and how long it
// has.
func (c *Client) WaitKill(ctx context.Context) (reason string, grace time.Duration, err error) {
	p, err := c.ask(ctx, wire.TWaitKill, nil)
	if err != nil {
		return "", 0, err
	}
	t, err := wire.DecodeTarget(p)
	return t.Reason, time.Duration(t.GraceMS) * time.Millisecond, err
}
