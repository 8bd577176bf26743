package gossip

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// Info is what a node says of itself.
type Info struct {
	Number uint16 // the node's, from its certificate
	Boot   uint32 // grows with each start of the node

	Roles   []string // it is willing to do
	Domain  string   // failure domain: a rack, a zone; "" is a domain of its own
	Version string   // of sigmad, for people
	Load    Load
	Size    Size
	Shards  []uint16 // of the best-effort queue that it serves
	Leaving bool     // it has said goodbye and will end

	Draining bool // it is given nothing new
}

// Load is what a node can still take.
type Load struct {
	FreeMCPU   int64
	FreeMemory int64 // bytes
}

// Size is what a node has to give to procs in all.
type Size struct {
	MCPU   int64
	Memory int64 // bytes
}

// Member is a node of the cluster.
type Member struct {
	Name string
	Addr netip.AddrPort // of its port
	Info
}

const (
	infoVersion = 1
	maxInfo     = 512 // memberlist's limit
	maxRoles    = 32
	maxShards   = 64

	flagLeaving  = 1
	flagDraining = 2
)

// encode is a byte of version and fields as in api/wire.
func (i Info) encode() ([]byte, error) {
	f := wire.Fields{infoVersion}
	f.Int(1, int64(i.Number))
	f.Int(2, int64(i.Boot))
	for _, r := range i.Roles {
		if r == "" || strings.Contains(r, ",") {
			return nil, api.E(api.Invalid, "gossip", r, "a role needs a name without commas")
		}
	}
	if len(i.Roles) > 0 {
		f.String(3, strings.Join(i.Roles, ","))
	}
	if i.Domain != "" {
		f.String(4, i.Domain)
	}
	if i.Version != "" {
		f.String(5, i.Version)
	}
	f.Int(6, i.Load.FreeMCPU)
	f.Int(7, i.Load.FreeMemory)
	if len(i.Shards) > 0 {
		var b []byte
		for _, s := range i.Shards {
			b = binary.LittleEndian.AppendUint16(b, s)
		}
		f.Bytes(8, b)
	}
	var flags int64
	if i.Leaving {
		flags |= flagLeaving
	}
	if i.Draining {
		flags |= flagDraining
	}
	f.Int(9, flags)
	f.Int(10, i.Size.MCPU)
	f.Int(11, i.Size.Memory)
	if len(f) > maxInfo || len(i.Roles) > maxRoles || len(i.Shards) > maxShards {
		return nil, api.E(api.TooLarge, "gossip", "", "what the node says of itself takes %d bytes, with %d roles and %d shards; the limits are %d, %d and %d: shorten its domain label or version",
			len(f), len(i.Roles), len(i.Shards), maxInfo, maxRoles, maxShards)
	}
	return f, nil
}

// decodeInfo reads encode. Fields that a newer node added are skipped.
func decodeInfo(b []byte) (i Info, err error) {
	if len(b) == 0 || len(b) > maxInfo || b[0] != infoVersion {
		return i, api.E(api.Invalid, "gossip", "", "%d bytes that are no info of version %d", len(b), infoVersion)
	}
	err = wire.Each(b[1:], func(tag uint8, v []byte) error {
		var n int64
		var err error
		switch tag {
		case 1, 2, 6, 7, 9, 10, 11:
			n, err = wire.Int(v)
		}
		if err != nil {
			return err
		}
		switch tag {
		case 1:
			i.Number = uint16(n)
		case 2:
			i.Boot = uint32(n)
		case 3:
			i.Roles = strings.Split(string(v), ",")
		case 4:
			i.Domain = string(v)
		case 5:
			i.Version = string(v)
		case 6:
			i.Load.FreeMCPU = n
		case 7:
			i.Load.FreeMemory = n
		case 8:
			if len(v)%2 != 0 {
				return api.E(api.Invalid, "gossip", "", "half a shard")
			}
			i.Shards = nil
			for ; len(v) > 0; v = v[2:] {
				i.Shards = append(i.Shards, binary.LittleEndian.Uint16(v))
			}
		case 9:
			i.Leaving, i.Draining = n&flagLeaving != 0, n&flagDraining != 0
		case 10:
			i.Size.MCPU = n
		case 11:
			i.Size.Memory = n
		}
		return nil
	})
	switch {
	case err != nil:
		return i, api.E(api.Invalid, "gossip", "", "%v", err)
	case len(i.Roles) > maxRoles, slices.Contains(i.Roles, ""), len(i.Shards) > maxShards:
		return i, api.E(api.Invalid, "gossip", "", "%d roles, maybe without names, and %d shards", len(i.Roles), len(i.Shards))
	}
	return i, nil
}

// clone shares nothing with i.
func (i Info) clone() Info {
	i.Roles, i.Shards = slices.Clone(i.Roles), slices.Clone(i.Shards)
	return i
}

func (m Member) clone() Member {
	m.Info = m.Info.clone()
	return m
}
