package named

import (
	"log/slog"
	"strconv"
	"sync"
	"testing"

	"sigmaos/api"
)

// Changes of one realm's shares follow each other, whoever makes them; those of a
// realm that is not there are refused, and go with it.
func TestSharesAreChangedOneAfterTheOther(t *testing.T) {
	c, ctx := etcd(t), tctx(t)
	realms, err := OpenRealms(ctx, c, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer realms.Close()
	r, err := realms.Create(ctx, api.Realm{Name: "counted"})
	if err != nil {
		t.Fatal(err)
	}
	count := func(old []byte) (n int) {
		n, _ = strconv.Atoi(string(old))
		return n
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				err := ChangeShares(ctx, c, r.ID, func(old []byte) ([]byte, error) { return strconv.AppendInt(nil, int64(count(old)+1), 10), nil })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := 0
	look := func(old []byte) ([]byte, error) { got = count(old); return old, nil }
	if err := ChangeShares(ctx, c, r.ID, look); err != nil || got != 80 {
		t.Errorf("80 changes made %d, %v", got, err)
	}
	if err := realms.Remove(ctx, "counted"); err != nil {
		t.Fatal(err)
	}
	if err := ChangeShares(ctx, c, r.ID, look); err != nil || got != 0 {
		t.Errorf("of a realm that was removed there are %d, %v", got, err)
	}
	if err := ChangeShares(ctx, c, r.ID, func([]byte) ([]byte, error) { return []byte("1"), nil }); api.KindOf(err) != api.NotFound {
		t.Errorf("changing those of a realm that was removed: %v", err)
	}
}
