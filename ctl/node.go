package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) node() *cobra.Command {
	top := &cobra.Command{Use: "node", Short: "The machines of the cluster"}
	ls := &cobra.Command{Use: "ls", Short: "List nodes", Args: cobra.NoArgs, Example: "  sigmactl node ls"}
	ls.RunE = a.anyRealm(func(ctx context.Context, c *admin.Client, _ []string) error {
		var list []api.NodeInfo
		if err := c.Call(ctx, api.MNodes, nil, &list); err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tNUMBER\tADDRESS\tROLES\tDOMAIN\tVERSION\tSTATE")
			for _, n := range list {
				state := "alive"
				switch {
				case n.Leaving:
					state = "leaving"
				case n.Draining:
					state = "draining"
				}
				fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", n.Name, n.Number, n.Addr, strings.Join(n.Roles, ","), n.Domain, n.Version, state)
			}
			return tw.Flush()
		})
	})
	top.AddCommand(a.data(ls, false), a.data(a.nodeDrain(), false), a.data(a.nodeUndrain(), false), a.data(a.nodeRemove(), false))
	return top
}

// drainLook is how often drain looks whether the node is empty.
const drainLook = 200 * time.Millisecond

func (a *app) nodeDrain() *cobra.Command {
	var r api.DrainRequest
	var grace time.Duration
	c := &cobra.Command{Use: "drain NAME", Short: "Give a machine nothing new and wait until it is empty", Args: cobra.ExactArgs(1),
		Example: "  sigmactl node drain n3 --grace 1m",
		Long: `drain has procs go to other nodes, and asks the latency-critical ones that run
there to end (WaitKill, with the reason): their owners start successors, which run
elsewhere, and have until --grace. Best-effort procs run to their end, or are asked
too with --all. It returns when nothing depends on the node any more: procs that
run there, and procs that were spawned there and run elsewhere. An interrupt ends
the waiting and not the draining; undrain, or a restart of the node, does.`}
	c.Flags().DurationVar(&grace, "grace", 30*time.Second, "time that procs have to end")
	c.Flags().BoolVar(&r.All, "all", false, "ask best-effort procs too")
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, args []string) error {
		r.Name, r.GraceMS = args[0], grace.Milliseconds()
		if grace < 0 {
			return usage("--grace %v: want 0 or more", grace)
		}
		var st api.DrainState
		for {
			if err := cl.Call(ctx, api.MNodeDrain, r, &st); err != nil {
				return err
			}
			if st.Here+st.Away == 0 {
				break
			}
			r.Look = true
			select {
			case <-ctx.Done():
				return api.E(api.Canceled, "node drain", r.Name, "%d procs run there and %d depend on it elsewhere; it goes on draining", st.Here, st.Away)
			case <-time.After(drainLook):
			}
			if !st.Draining {
				return api.E(api.Conflict, "node drain", r.Name, "the node was undrained, or restarted, before it was empty")
			}
		}
		return a.print(st, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "node %s is empty and is given nothing new\n", st.Name)
			return err
		})
	})
	return c
}

func (a *app) nodeUndrain() *cobra.Command {
	c := &cobra.Command{Use: "undrain NAME", Short: "Give a drained machine procs again", Args: cobra.ExactArgs(1), Example: "  sigmactl node undrain n3"}
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, args []string) error {
		var st api.DrainState
		if err := cl.Call(ctx, api.MNodeDrain, api.DrainRequest{Name: args[0], Off: true}, &st); err != nil {
			return err
		}
		return a.print(st, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "node %s takes procs again\n", st.Name)
			return err
		})
	})
	return c
}

func (a *app) nodeRemove() *cobra.Command {
	c := &cobra.Command{Use: "rm NAME", Short: "Remove a machine from the cluster for good", Args: cobra.ExactArgs(1), Example: "  sigmactl node rm n3",
		Long: `rm bars a node for ever: other nodes turn it away, and if it runs it stops. Its
name is free then. Another node takes over its etcd peer, where one can. To use
the machine again, empty its --data-dir and join it with a token.`}
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, args []string) error {
		var r api.NodeRemoved
		if err := cl.Call(ctx, api.MNodeRemove, api.Ref{Name: args[0]}, &r); err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) error {
			fmt.Fprintf(w, "node %s (number %d) is removed\n", r.Name, r.Number)
			if r.Peer {
				fmt.Fprintln(w, "its etcd peer goes when another node has caught up")
			}
			return nil
		})
	})
	return c
}

func (a *app) cluster() *cobra.Command {
	top := &cobra.Command{Use: "cluster", Short: "The cluster's keys, tokens and etcd peers"}
	var file string
	token := &cobra.Command{Use: "token --file F", Short: "Write the token that admits new nodes", Args: cobra.NoArgs,
		Example: "  sigmactl cluster token --file join.token\n  sigmad --join 10.0.0.1:9460 --token-file join.token"}
	token.Flags().StringVar(&file, "file", "", "file to write, readable by its owner alone")
	token.RunE = a.anyRealm(func(ctx context.Context, c *admin.Client, _ []string) error {
		var t api.TokenFile
		if file == "" {
			return usage("--file F: where the token goes")
		}
		if err := c.Call(ctx, api.MClusterTok, nil, &t); err != nil {
			return err
		}
		return a.writeToken(file, t.Text, "give it to sigmad with --token-file "+file)
	})
	top.AddCommand(token, a.data(a.rotate(), false), a.data(a.peers(), false))
	return top
}

func (a *app) peers() *cobra.Command {
	c := &cobra.Command{Use: "peers", Short: "List the etcd peers that keep the cluster's record", Args: cobra.NoArgs, Example: "  sigmactl cluster peers",
		Long: `There are 1, 3 or 5 peers with a vote, on nodes with the role named. The others
of these nodes are ready to take over.`}
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, _ []string) error {
		var list []api.EtcdPeer
		if err := cl.Call(ctx, api.MEtcdPeers, nil, &list); err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NODE\tVOTE\tLEADS\tALIVE")
			for _, p := range list {
				fmt.Fprintf(tw, "%s\t%v\t%v\t%v\n", p.Node, p.Voter, p.Leader, p.Alive)
			}
			return tw.Flush()
		})
	})
	return c
}

// writeToken writes a secret into a new file that only its owner can read.
func (a *app) writeToken(file string, text []byte, hint string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	fmt.Fprintf(a.err, "wrote %s; %s\n", file, hint)
	return f.Close()
}

func (a *app) rotate() *cobra.Command {
	var r api.RotateRequest
	c := &cobra.Command{Use: "rotate [--drop-old]", Short: "Replace the cluster's keys: of nodes, of gossip, of tokens", Args: cobra.NoArgs,
		Long: `rotate makes new keys. They are used from then on, and the old ones are still
accepted, until rotate --drop-old: do that when every node was up since, and when
those who hold realm tokens have new ones.`,
		Example: "  sigmactl cluster rotate\n  sigmactl cluster rotate --drop-old"}
	c.Flags().BoolVar(&r.DropOld, "drop-old", false, "accept the newest keys only")
	c.RunE = a.anyRealm(func(ctx context.Context, cl *admin.Client, _ []string) error {
		var k api.KeyInfo
		if err := cl.Call(ctx, api.MRotate, r, &k); err != nil {
			return err
		}
		return a.print(k, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%d generation(s) of keys are accepted\n", k.Generations)
			return err
		})
	})
	return c
}
