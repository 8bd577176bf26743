package schedd

import (
	"context"
	"errors"
	"testing"

	"sigmaos/api"
	"sigmaos/sched/quota"
)

// deaf is a table of shares whose answers may be lost behind a change that is made.
type deaf struct {
	has  quota.Use
	lost error
}

func (d *deaf) Grow(_ context.Context, _ api.Realm, need quota.Use) (quota.Use, quota.Use, bool, error) {
	d.has = need
	return need, quota.Use{}, false, d.lost
}

func (d *deaf) Set(_ context.Context, _ string, use quota.Use) error {
	if d.lost == nil {
		d.has = use
	}
	return d.lost
}

func (d *deaf) Recall(context.Context, string) {}

// What the table may hold for this node beyond what it uses is given back when others
// ask for it, whatever was lost before.
func TestAShareWithoutAnAnswerIsGivenBack(t *testing.T) {
	ctx, lost := context.Background(), errors.New("no answer")
	for name, lose := range map[string]func(*Schedd, *realm){
		"grow": func(s *Schedd, r *realm) {
			if _, err := s.growOnce(ctx, r, &api.ProcDesc{Memory: 1}); err != lost {
				t.Errorf("growOnce = %v, want %v", err, lost)
			}
		},
		"give back": func(s *Schedd, r *realm) {
			r.share.use, s.cfg.Shares.(*deaf).has = quota.Use{Procs: 3}, quota.Use{Procs: 3}
			if err := s.giveBack(ctx, "r", false); err != lost {
				t.Errorf("giveBack = %v, want %v", err, lost)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := &deaf{lost: lost}
			r := newRealm(api.Realm{ID: "r", Name: "r", Quota: api.Quota{Procs: 10}})
			s := &Schedd{cfg: Config{Shares: table}, realms: map[string]*realm{"r": r}}
			lose(s, r)
			if table.has == (quota.Use{}) {
				t.Fatal("the table holds nothing that could stay")
			}
			table.lost = nil
			if err := s.giveBack(ctx, "r", false); err != nil || table.has != (quota.Use{}) || r.share.dirty {
				t.Errorf("giveBack = %v; the table holds %+v, dirty %v", err, table.has, r.share.dirty)
			}
		})
	}
}
