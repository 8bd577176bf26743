package roles

import (
	"context"
	"encoding/json"

	"sigmaos/api"
	"sigmaos/roles/schedd"
)

// methods are the tools' calls that roles other than schedd serve.
func (s *System) methods() map[string]schedd.Method {
	return map[string]schedd.Method{
		api.MRealmToken: {Operator: true, Run: decoded(func(_ context.Context, _ api.Caller, r api.TokenRequest) (any, error) {
			return s.issueToken(r)
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
