package ctl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// strict has a verb and those below it say of wrong use what was wanted and what was
// given. A verb that is a group of verbs does nothing by itself.
func strict(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{FlagError(err)} })
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if check(c, args) != nil {
				return usage("wrong arguments: want %s, not %s", wanted(c.Use), given(args))
			}
			return nil
		}
	}
	if c.HasParent() && c.HasSubCommands() {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("say which: %s", choices(c))
			}
			return usage("there is no %s %q; say which: %s", c.Name(), args[0], choices(c))
		}
	}
	for _, s := range c.Commands() {
		strict(s)
	}
}

// choices are those of a group.
func choices(c *cobra.Command) string {
	var names []string
	for _, s := range c.Commands() {
		if s.IsAvailableCommand() {
			names = append(names, s.Name())
		}
	}
	if n := len(names); n > 1 {
		names = append(names[:n-2], names[n-2]+" or "+names[n-1])
	}
	return strings.Join(names, ", ")
}

// wanted are the arguments in the line that says how a verb is used: what is neither
// the verb nor a flag.
func wanted(use string) string {
	var out []string
	words := strings.Fields(use)[1:]
	for i := 0; i < len(words); i++ {
		switch w := words[i]; {
		case w == "[flags]":
		case w == "--" || w == "[--" || w == "-]" || !strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "[-"):
			out = append(out, w)
		case w[0] == '[': // a flag that may be there
			for !strings.HasSuffix(words[i], "]") && i < len(words)-1 {
				i++
			}
		default: // one that must, and its value
			i++
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, " ")
}

// given shows arguments, not all of many.
func given(args []string) string {
	const most = 4
	if len(args) == 0 {
		return "none"
	}
	var out []string
	for _, a := range args[:min(len(args), most)] {
		out = append(out, strconv.Quote(a))
	}
	if len(args) > most {
		out = append(out, fmt.Sprintf("and %d more", len(args)-most))
	}
	return strings.Join(out, " ")
}

// kinds are what the values of flags are to be, by their types.
var kinds = map[string]string{
	"duration": "a time, as 90s, 10m or 1h30m", "int": "a whole number", "int64": "a whole number", "uint": "a whole number from 0", "uint64": "a whole number from 0",
	"float64": "a number", "bool": "true or false",
}

// FlagError says of a flag's value that is none what one is.
func FlagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	f := bad.GetFlag()
	want, ok := kinds[f.Value.Type()]
	if !ok {
		return err
	}
	return fmt.Errorf("--%s %q: want %s", f.Name, bad.GetValue(), want)
}
