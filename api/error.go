package api

import (
	"errors"
	"fmt"
)

// Kind is the part of an error that code may look at; it survives every
// transport. People read the text.
type Kind string

const (
	Invalid     Kind = "invalid"     // the request makes no sense; do not repeat it
	NotFound    Kind = "not found"   // no such thing, or it belongs to somebody else
	Exists      Kind = "exists"      // exclusive create met an existing thing
	TooLarge    Kind = "too large"   // over a documented limit
	NoCapacity  Kind = "no capacity" // never fits on any machine of this cluster
	Busy        Kind = "busy"        // a quota or rate of the caller's own is used up
	Denied      Kind = "denied"      // the caller may not do that
	Unavailable Kind = "unavailable" // a part of the system is down or stopping
	Canceled    Kind = "canceled"    // the caller gave up
	Deadline    Kind = "deadline"    // the caller's time ran out
	Internal    Kind = "internal"    // our defect
	Unsupported Kind = "unsupported" // this kernel or build lacks something

	// Of names and files.
	Conflict Kind = "conflict"       // a condition on version or fence does not hold
	NotDir   Kind = "not directory"  // a step of the path is no directory
	IsDir    Kind = "is directory"   // a file was wanted
	NotEmpty Kind = "not empty"      // only an empty directory can be removed
	TooOld   Kind = "too old"        // what was asked for is forgotten; list again
	Loop     Kind = "too many links" // more than 32 links in one path
)

// Error says which operation failed on which subject, and why. Seen from
// another tenant, absent and forbidden things are both NotFound.
type Error struct {
	Op      string // what was asked: "spawn", "wait", "realm create"
	Subject string // what it was asked of: a proc id, a path, a realm
	Kind    Kind
	Text    string // what is wrong and what to do
}

// E makes an *Error; the text is formatted.
func E(kind Kind, op, subject, format string, args ...any) *Error {
	return &Error{Op: op, Subject: subject, Kind: kind, Text: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	switch {
	case e.Subject == "" && e.Op == "":
		return e.Text
	case e.Subject == "":
		return e.Op + ": " + e.Text
	}
	return e.Op + " " + e.Subject + ": " + e.Text
}

// KindOf returns the kind of the first *Error in err's chain; an error of
// another type is Internal, nil is "".
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// AsError returns err as an *Error, wrapping a foreign one as Internal.
func AsError(op string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Op: op, Kind: Internal, Text: err.Error()}
}
