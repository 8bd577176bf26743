package roles

import (
	"context"
	"encoding/json"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/roles/schedd"
)

// methods are the tools' calls that roles other than schedd serve.
func (s *System) methods() map[string]schedd.Method {
	return map[string]schedd.Method{
		api.MRealmToken: {Operator: true, Run: decoded(func(_ context.Context, _ api.Caller, r api.TokenRequest) (any, error) {
			return s.issueToken(r)
		})},
		api.MRealmS3: {Operator: true, Run: decoded(func(ctx context.Context, _ api.Caller, r api.S3Request) (any, error) {
			return s.setS3(ctx, r)
		})},
		api.MRealmDB: {Operator: true, Run: decoded(func(ctx context.Context, _ api.Caller, r api.DBRequest) (any, error) {
			return s.setDB(ctx, r)
		})},
		api.MNodes: {Operator: true, Run: decoded(func(context.Context, api.Caller, struct{}) (any, error) {
			return s.nodes(), nil
		})},
		api.MEvents: {Run: decoded(func(ctx context.Context, c api.Caller, q api.EventQuery) (any, error) {
			return s.readEvents(ctx, c, q)
		})},
		api.MBackup: {Operator: true, Stream: func(ctx context.Context, _ api.Caller, _ wire.Call, send func(any, []byte) error) (any, error) {
			return s.backup(ctx, send)
		}},
		api.MRestorePart: {Operator: true, Stream: func(_ context.Context, _ api.Caller, call wire.Call, _ func(any, []byte) error) (any, error) {
			var r api.RestorePart
			if err := json.Unmarshal(call.Body, &r); err != nil {
				return nil, api.E(api.Invalid, "restore", "", "%v", err)
			}
			return s.restorePart(r, call.Data)
		}},
		api.MRestoreEnd: {Operator: true, Run: decoded(func(ctx context.Context, _ api.Caller, r api.RestoreRequest) (any, error) {
			return s.restoreEnd(ctx, r)
		})},
		api.MInitAdd: {Realm: true, Run: decoded(func(ctx context.Context, c api.Caller, p api.InitProc) (any, error) {
			return s.addInit(ctx, c, p)
		})},
		api.MInitList: {Realm: true, Run: decoded(func(ctx context.Context, c api.Caller, _ struct{}) (any, error) {
			return s.listInit(ctx, c)
		})},
		api.MInitRemove: {Realm: true, Run: decoded(func(ctx context.Context, c api.Caller, r api.Ref) (any, error) {
			return nil, s.removeInit(ctx, c, r.Name)
		})},
		api.MEtcdPeers: {Operator: true, Run: decoded(func(ctx context.Context, _ api.Caller, _ struct{}) (any, error) {
			return s.etcdPeers(ctx)
		})},
		api.MNodeRemove: {Operator: true, Run: decoded(func(ctx context.Context, _ api.Caller, r api.Ref) (any, error) {
			return s.removeNode(ctx, r.Name)
		})},
		api.MNodeDrain: {Operator: true, Run: decoded(func(ctx context.Context, _ api.Caller, r api.DrainRequest) (any, error) {
			return s.drain(ctx, r)
		})},
		api.MProbe: {Operator: true, Run: decoded(func(ctx context.Context, _ api.Caller, q api.EtcdProbe) (any, error) {
			return s.probeEtcd(ctx, q)
		})},
		api.MRotate: {Operator: true, Run: decoded(func(ctx context.Context, _ api.Caller, r api.RotateRequest) (any, error) {
			return s.rotate(ctx, r.DropOld)
		})},
		api.MClusterTok: {Operator: true, Run: decoded(func(ctx context.Context, _ api.Caller, _ struct{}) (any, error) {
			t, err := s.joinTokens(ctx)
			if err != nil {
				return nil, err
			}
			return api.TokenFile{Text: []byte(t[0].Text() + "\n")}, nil
		})},
	}
}

// decoded makes a method of a function that takes its body.
func decoded[T any](fn func(ctx context.Context, c api.Caller, v T) (any, error)) func(context.Context, api.Caller, json.RawMessage) (any, error) {
	return func(ctx context.Context, c api.Caller, body json.RawMessage) (any, error) {
		var v T
		if len(body) > 0 {
			if err := json.Unmarshal(body, &v); err != nil {
				return nil, api.E(api.Invalid, "call", "", "the body is not what the method takes: %v", err)
			}
		}
		return fn(ctx, c, v)
	}
}

// nodes lists the members of the cluster.
func (s *System) nodes() []api.NodeInfo {
	self := api.NodeInfo{Name: s.Config.Node, Number: s.nodeNum, Boot: s.boot, Roles: s.Config.Roles, Domain: s.Config.Domain, Version: s.Version, Self: true}
	if s.Gossip == nil {
		return []api.NodeInfo{self}
	}
	out := []api.NodeInfo{}
	for _, m := range s.Gossip.Members() {
		out = append(out, api.NodeInfo{
			Name: m.Name, Number: m.Number, Boot: m.Boot, Addr: m.Addr.String(), Roles: m.Roles, Domain: m.Domain, Version: m.Version,
			Leaving: m.Leaving, Draining: m.Draining, Self: m.Number == s.nodeNum,
		})
	}
	return out
}
