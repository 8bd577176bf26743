package schedd

import (
	"context"
	"encoding/json"
	"strings"

	"sigmaos/api"
	"sigmaos/api/wire"
)

type sender func(body any, data []byte) error

// method is one entry of the tools' interface.
type method struct {
	operator bool // for the operator only
	realm    bool // needs a realm
	run      func(s *Schedd, ctx context.Context, c api.Caller, call wire.Call, send sender) (any, error)
}

// body decodes the argument of a method.
func body[T any](call wire.Call) (v T, err error) {
	if len(call.Body) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(call.Body, &v); err != nil {
		return v, api.E(api.Invalid, call.Method, "", "the body is not what the method takes: %v", err)
	}
	return v, nil
}

// of makes a method from a function with a decoded body.
func of[T any](fn func(s *Schedd, ctx context.Context, c api.Caller, v T) (any, error)) func(*Schedd, context.Context, api.Caller, wire.Call, sender) (any, error) {
	return func(s *Schedd, ctx context.Context, c api.Caller, call wire.Call, _ sender) (any, error) {
		v, err := body[T](call)
		if err != nil {
			return nil, err
		}
		return fn(s, ctx, c, v)
	}
}

var methods = map[string]method{
	api.MInfo: {run: of(func(s *Schedd, _ context.Context, c api.Caller, _ struct{}) (any, error) {
		s.mu.Lock()
		i := s.cfg.Info
		s.mu.Unlock()
		i.Cores = s.cores()
		if r, err := s.cfg.Realms.ByID(c.Realm); err == nil {
			i.Realm = r.Name
		}
		return i, nil
	})},
	api.MRealmCreate: {operator: true, run: of(func(s *Schedd, ctx context.Context, c api.Caller, r api.Realm) (any, error) {
		r, err := s.cfg.Realms.Create(ctx, r)
		if err == nil {
			c.Realm = r.ID
			s.tell(c, api.Event{Kind: api.EventCreated, Detail: "realm " + r.Name})
		}
		return r, err
	})},
	api.MRealmList: {operator: true, run: of(func(s *Schedd, _ context.Context, _ api.Caller, _ struct{}) (any, error) {
		return s.cfg.Realms.List(), nil
	})},
	api.MRealmRemove: {operator: true, run: of(func(s *Schedd, ctx context.Context, _ api.Caller, r api.Ref) (any, error) {
		return nil, s.RemoveRealm(ctx, r.Name)
	})},
	api.MPutBegin: {realm: true, run: of(func(s *Schedd, _ context.Context, c api.Caller, b api.PutBegin) (any, error) {
		return s.programs.begin(c.Realm, b)
	})},
	api.MPutData: {realm: true, run: func(s *Schedd, _ context.Context, c api.Caller, call wire.Call, _ sender) (any, error) {
		v, err := body[api.PutState](call)
		if err != nil {
			return nil, err
		}
		return nil, s.programs.data(c.Realm, v.Upload, call.Data)
	}},
	api.MPutEnd: {realm: true, run: of(func(s *Schedd, _ context.Context, c api.Caller, v api.PutState) (any, error) {
		return s.programs.end(c.Realm, v.Upload)
	})},
	api.MPrograms: {realm: true, run: of(func(s *Schedd, _ context.Context, c api.Caller, _ struct{}) (any, error) {
		return s.programs.list(c.Realm), nil
	})},
	api.MProcs: {run: of(func(s *Schedd, ctx context.Context, c api.Caller, f api.ProcFilter) (any, error) {
		return s.procs(ctx, c, f)
	})},
	api.MWhy: {realm: true, run: of(func(s *Schedd, ctx context.Context, c api.Caller, r api.Ref) (any, error) {
		return s.why(ctx, c, r.Name)
	})},
	api.MDump: {realm: true, run: of(func(s *Schedd, ctx context.Context, c api.Caller, r api.Ref) (any, error) {
		return s.dump(ctx, c, r.Name)
	})},
	api.MEndpoints: {realm: true, run: of(func(s *Schedd, ctx context.Context, c api.Caller, _ struct{}) (any, error) {
		return s.cfg.ListEndpoints(ctx, c.Realm)
	})},
	api.MTop: {run: of(func(s *Schedd, _ context.Context, c api.Caller, _ struct{}) (any, error) {
		return s.top(c)
	})},
	api.MLogs: {realm: true, run: func(s *Schedd, ctx context.Context, c api.Caller, call wire.Call, send sender) (any, error) {
		q, err := body[api.LogQuery](call)
		if err != nil {
			return nil, err
		}
		return nil, s.readLogs(ctx, c, q, send)
	}},
}

// Call serves the tools' methods.
func (s *Schedd) Call(ctx context.Context, c api.Caller, call wire.Call, send func(any, []byte) error) (any, error) {
	m, ok := methods[call.Method]
	if x, has := s.cfg.Methods[call.Method]; has {
		ok = true
		m = method{operator: x.Operator, realm: x.Realm, run: func(_ *Schedd, ctx context.Context, c api.Caller, call wire.Call, send sender) (any, error) {
			if x.Stream != nil {
				return x.Stream(ctx, c, call, send)
			}
			return x.Run(ctx, c, call.Body)
		}}
	}
	switch {
	case !ok:
		return nil, api.E(api.Unsupported, "call", short(call.Method), "this sigmad has no such method")
	case m.operator && !c.Operator:
		return nil, api.E(api.Denied, call.Method, "", "only an operator may do that")
	case m.realm && c.Realm == "":
		return nil, api.E(api.Invalid, call.Method, "", "no realm chosen; use --realm or SIGMA_REALM")
	}
	return m.run(s, ctx, c, call, send)
}

func (s *Schedd) readLogs(ctx context.Context, c api.Caller, q api.LogQuery, send sender) error {
	p, node, id, err := s.locate(ctx, c, "logs", q.Name)
	switch {
	case err != nil:
		return err
	case p != nil:
		return s.readLog(ctx, p, q, send)
	}
	q.Name = id
	b, err := json.Marshal(peerAsk{Caller: c, Logs: q})
	if err != nil {
		return err
	}
	return s.cfg.Others.Follow(ctx, node, PeerLogs, b, func(m []byte) error {
		r, err := wire.DecodeCall(m)
		if err != nil {
			return err
		}
		return send(r.Body, r.Data)
	})
}

// RemoveRealm ends everything of a realm, then forgets the realm.
func (s *Schedd) RemoveRealm(ctx context.Context, name string) error {
	rec, err := s.cfg.Realms.Get(name)
	if err != nil {
		return err
	}
	if err := s.EndRealm(ctx, rec); err != nil {
		return err
	}
	if err := s.cfg.DropNames(ctx, rec.ID); err != nil {
		return err
	}
	if err := s.cfg.Realms.Remove(ctx, name); err != nil {
		return err
	}
	// A node that had not heard of it may have put its scratch into the names
	// again.
	if err := s.cfg.DropNames(ctx, rec.ID); err != nil {
		s.log.Warn("names of a removed realm stay in etcd", "realm", rec.ID, "err", err)
	}
	if s.cfg.Event != nil {
		s.cfg.Event("", api.Event{Kind: api.EventRemoved, User: "operator", Detail: "realm " + name})
	}
	s.log.Info("realm removed", "realm", strings.TrimSpace(name))
	return nil
}

// EndRealm ends everything that a realm has on this node.
func (s *Schedd) EndRealm(ctx context.Context, rec api.Realm) error {
	name := rec.Name
	s.mu.Lock()
	r := s.realms[rec.ID]
	if r == nil {
		r = newRealm(rec)
		s.realms[rec.ID] = r
	}
	r.closing = true
	live := r.liveLocked()
	s.mu.Unlock()
	for _, p := range live {
		s.kill(p, "its realm was removed")
	}
	s.cfg.Endpoints.RemoveRealm(rec.ID)
	s.cfg.Pool.RemoveRealm(rec.ID)
	for _, p := range live {
		select {
		case <-s.finality(p):
		case <-ctx.Done():
			return api.E(api.Canceled, "realm rm", name, "not finished; run it again")
		}
	}
	if err := s.programs.removeRealm(rec.ID); err != nil {
		return api.E(api.Unavailable, "realm rm", name, "its programs: %v; run it again", err)
	}
	s.cfg.Logs.RemoveRealm(rec.ID)
	s.mu.Lock()
	delete(s.realms, rec.ID)
	s.mu.Unlock()
	return nil
}
