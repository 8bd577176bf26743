package rpc

import (
	"math/rand"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Against a plain set: no number has two holders, none is over the limit, and
// who waits is served in order.
func TestNumbers(t *testing.T) {
	random := rand.New(rand.NewSource(7))
	for range 200 {
		n := numbers{limit: uint32(1 + random.Intn(5))}
		var held []uint32
		var waiting []chan uint32
		hold := func(id uint32) {
			if id >= n.limit || slices.Contains(held, id) {
				t.Fatalf("number %d was given while %v are held; the limit is %d", id, held, n.limit)
			}
			held = append(held, id)
		}
		served := func() {
			for len(waiting) > 0 && len(waiting[0]) > 0 {
				hold(<-waiting[0])
				waiting = waiting[1:]
			}
			for _, ch := range waiting {
				if len(ch) > 0 {
					t.Fatal("somebody was served out of turn")
				}
			}
		}
		for range 100 {
			switch k := random.Intn(10); {
			case k < 5 && n.any():
				hold(n.get())
			case k < 5:
				ch := make(chan uint32, 1)
				n.queue.PushBack(ch)
				waiting = append(waiting, ch)
			case k < 9 && len(held) > 0:
				i := random.Intn(len(held))
				id := held[i]
				held = slices.Delete(held, i, i+1)
				n.put(id)
			case k == 9:
				n.raise(int(n.limit) + random.Intn(2))
			}
			served()
			if n.used() != len(held) || n.any() != (len(held) < int(n.limit)) || n.any() && len(waiting) > 0 {
				t.Fatalf("%d are used, any is %v, %d wait; %d of %d are held", n.used(), n.any(), len(waiting), len(held), n.limit)
			}
		}
		n.end()
		for _, ch := range waiting {
			if _, ok := <-ch; ok {
				t.Fatal("somebody was served at the end")
			}
		}
	}
}

// Every proc links this package.
func TestImportsStayLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	for _, dep := range strings.Fields(string(out)) {
		switch dep {
		case "net/http", "encoding/json", "encoding/gob", "crypto/tls", "net/rpc", "text/template", "html/template":
			t.Errorf("%s is imported", dep)
		}
		if first, _, _ := strings.Cut(dep, "/"); strings.Contains(first, ".") && !strings.HasPrefix(dep, "vendor/") {
			t.Errorf("%s is imported", dep)
		}
	}
}
