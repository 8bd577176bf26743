package test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/img"
	"sigmaos/sigma/job"
)

// drawing is an image whose left half is red and whose right half is green.
func drawing(w, h int) image.Image {
	m := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.RGBA{255, 0, 0, 255}, color.RGBA{0, 255, 0, 255}})
	for i := range m.Pix {
		m.Pix[i] = uint8(2 * (i % w) / w)
	}
	return m
}

// pictures are files of images, by name, with the size that each becomes in 64x64.
func pictures(t *testing.T) (files map[string][]byte, sizes map[string]image.Point) {
	t.Helper()
	files, sizes = make(map[string][]byte), make(map[string]image.Point)
	for i := range 6 {
		w, h := 400+100*i, 300
		var j, p, g bytes.Buffer
		err := jpeg.Encode(&j, drawing(w, h), nil)
		if err == nil {
			err = png.Encode(&p, drawing(h, w))
		}
		if err == nil {
			err = gif.Encode(&g, drawing(w, w), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		files[fmt.Sprintf("photo%d.JPG", i)], sizes[fmt.Sprintf("photo%d.JPG", i)] = j.Bytes(), image.Pt(64, (64*h+w/2)/w)
		files[fmt.Sprintf("below/p%d.png", i)], sizes[fmt.Sprintf("below/p%d.png", i)] = p.Bytes(), image.Pt((64*h+w/2)/w, 64)
		files[fmt.Sprintf("below/more/g%d", i)], sizes[fmt.Sprintf("below/more/g%d.png", i)] = g.Bytes(), image.Pt(64, 64)
	}
	return files, sizes
}

// pixelBomb is a PNG of a hundred bytes that says it has 2.5 billion pixels.
func pixelBomb() []byte {
	head := append([]byte("IHDR"), binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 50_000), 50_000)...)
	head = append(head, 8, 6, 0, 0, 0)
	out := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), uint32(len(head)-4))
	return binary.BigEndian.AppendUint32(append(out, head...), crc32.ChecksumIEEE(head))
}

// bad are files that no image comes of, with a part of the reason.
func bad() (files map[string][]byte, why map[string]string) {
	half := []byte("\xff\xd8\xff\xe0 and no more")
	return map[string][]byte{"broken.jpg": []byte("this is no image"), "half.jpg": half, "bomb.png": pixelBomb(), "empty.gif": nil},
		map[string]string{"broken.jpg": "no image of a known format", "half.jpg": "broken", "bomb.png": "50000 by 50000 pixels need", "empty.gif": "empty"}
}

// putFiles makes a directory of the realm and writes files below it.
func putFiles[T string | []byte](t *testing.T, n *Node, dir string, files map[string]T) {
	t.Helper()
	names, ctx := n.Client("default").Names(), minute(t)
	if err := names.MkdirAll(ctx, dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		p := path.Join(dir, name)
		err := names.MkdirAll(ctx, path.Dir(p), 0o777)
		if err == nil {
			_, err = names.PutFile(ctx, p, []byte(b))
		}
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
	}
}

// imgRun runs a job to its end by sigmactl, and returns what it says.
func imgRun(t *testing.T, n *Node, args ...string) (s img.Summary, code int) {
	t.Helper()
	out, e, code := n.Ctl(append([]string{"img", "run", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("img run %q: status %d, %s", args, code, e)
	}
	return s, code
}

// assertSmall fails where a result is not the image that it should be.
func assertSmall(t *testing.T, name string, data []byte, size image.Point) {
	t.Helper()
	m, _, err := image.Decode(bytes.NewReader(data))
	if err != nil || m.Bounds().Size() != size {
		t.Errorf("%s: %v, %v; want an image of %v", name, m, err, size)
		return
	}
	lr, _, _, _ := m.At(size.X/4, size.Y/2).RGBA()
	_, rg, _, _ := m.At(size.X-1-size.X/4, size.Y/2).RGBA()
	if lr < 0xe000 || rg < 0xe000 {
		t.Errorf("%s: red %x on the left, green %x on the right; want both full", name, lr, rg)
	}
}

// assertNoJob fails where something of ended jobs and services is left beside their
// results and their state, and waits for their procs to end.
func assertNoJob(t *testing.T, n *Node) {
	t.Helper()
	c, ctx := n.Client("default"), minute(t)
	eventually(t, 10*time.Second, "procs end", func() (bool, string) {
		o, e, _ := n.Ctl("ps", "-o", "json")
		return !strings.Contains(o, "img-"), o + e
	})
	var left []string
	jobs, _ := c.Names().ReadDir(ctx, "/img", "", 0)
	for _, j := range jobs {
		list, _ := c.Names().ReadDir(ctx, "/img/"+j.Name(), "", 0)
		for _, i := range list {
			if n := i.Name(); n != "spec" && n != "state" && n != "coords" && !strings.HasPrefix(n, "images-") {
				left = append(left, j.Name()+"/"+n)
			}
		}
	}
	nodes, err := c.Names().ReadDir(ctx, "/ux", "", 0)
	for _, u := range nodes {
		list, _ := c.Names().ReadDir(ctx, "/ux/"+u.Name(), "", 0)
		for _, i := range list {
			if strings.HasPrefix(i.Name(), "img-") {
				left = append(left, u.Name()+"/"+i.Name())
			}
		}
	}
	reg, ierr := c.InitList(ctx)
	if err != nil || ierr != nil || len(left)+len(reg) > 0 {
		t.Errorf("left: %v, registered %+v, %v, %v", left, reg, err, ierr)
	}
}

// A directory of images with some that are none: each is scaled or named, in ux, s3
// and on the machine.
func TestPaper5_ImageProcessing(t *testing.T) {
	for _, count := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", count), func(t *testing.T) {
			n := StartCluster(t, count)[0]
			files, sizes := pictures(t)
			none, why := bad()
			for name, b := range none {
				files["below/"+name] = b
			}
			putFiles(t, n, "/ux/~local/in", files)
			here := t.TempDir()
			for name, b := range files {
				p := filepath.Join(here, "in", name)
				os.MkdirAll(filepath.Dir(p), 0o755)
				if err := os.WriteFile(p, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, place := range [][2]string{{"/ux/~local/in", "/ux/~local/out"}, {"/ux/~local/in", "/s3/~any/small/out"}, {"local:" + here + "/in", "local:" + here + "/out"}} {
				s, code := imgRun(t, n, "--in", place[0], "--out", place[1], "--size", "64x64")
				if code != 1 || s.State.Phase != job.Done || s.State.Done != len(sizes) || s.State.Failed != len(none) || len(s.Images) != len(files) {
					t.Fatalf("%v: status %d, %+v", place, code, s.State)
				}
				for _, r := range s.Images {
					reason := why[strings.TrimPrefix(r.Name, "below/")]
					if (reason == "") != (r.Error == "") || !strings.Contains(r.Error, reason) {
						t.Errorf("%s: %q, want %q", r.Name, r.Error, reason)
					}
					if r.Error == "" && (r.Wall <= 0 || r.CPU <= 0 || r.Attempts < 1 || r.RSS > s.Spec.Memory) {
						t.Errorf("%s: %+v", r.Name, r)
					}
				}
				for name, size := range sizes {
					assertSmall(t, place[1]+"/"+name, fileAt(t, n, place[1]+"/"+name), size)
				}
				if got := filesAt(t, n, place[1]); len(got) != len(sizes) {
					t.Errorf("%s has %q; want %d files", place[1], got, len(sizes))
				}
			}
			assertNoJob(t, n)
		})
	}
}

// fileAt reads a file of the realm or, by local:, of the machine.
func fileAt(t *testing.T, n *Node, p string) []byte {
	t.Helper()
	var b []byte
	var err error
	if local, ok := strings.CutPrefix(p, "local:"); ok {
		b, err = os.ReadFile(local)
	} else {
		b, _, err = n.Client("default").Names().GetFile(minute(t), p)
	}
	if err != nil {
		t.Errorf("%s: %v", p, err)
	}
	return b
}

// filesAt lists the files at and below such a place.
func filesAt(t *testing.T, n *Node, dir string) (out []string) {
	t.Helper()
	if local, ok := strings.CutPrefix(dir, "local:"); ok {
		filepath.WalkDir(local, func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				out = append(out, p)
			}
			return err
		})
		return out
	}
	list, err := n.Client("default").Names().ReadDir(minute(t), dir, "", 0)
	if err != nil {
		t.Errorf("%s: %v", dir, err)
	}
	for _, i := range list {
		if i.IsDir() {
			out = append(out, filesAt(t, n, dir+"/"+i.Name())...)
			continue
		}
		out = append(out, i.Name())
	}
	return out
}

// procNamed waits for a running proc whose id begins so.
func procNamed(t *testing.T, n *Node, name string) (id api.ProcID) {
	t.Helper()
	eventually(t, patience, name+" runs", func() (bool, string) {
		o, e, _ := n.Ctl("ps", "-o", "json")
		var list []struct {
			ID    api.ProcID `json:"id"`
			State string     `json:"state"`
		}
		json.Unmarshal([]byte(o), &list)
		for _, p := range list {
			if strings.HasPrefix(string(p.ID), name+"-") && p.State == "running" {
				id = p.ID
				return true, ""
			}
		}
		return false, o + e
	})
	return id
}

// A worker and then the coordinator that leads are killed in the middle: another one
// goes on, every image is done, and finished ones are not done again.
func TestPaper5_ImageProcsAreKilled(t *testing.T) {
	n := StartNode(t)
	c, ctx := n.Client("default"), minute(t)
	mark := func(i int) string { return fmt.Sprintf("/mark%d", i) }
	putFiles(t, n, "/ux/~local/in", map[string][]byte{"a": []byte("first"), "b": []byte("once " + mark(1)), "c": []byte("once " + mark(2)), "d": []byte("last")})
	o, e, code := n.Ctl("img", "run", "-d", "--name", "job", "--program", Proc(t, "imgtest"), "--in", "/ux/~local/in", "--out", "/ux/~local/out", "--size", "9x9", "--parallel", "1")
	if code != 0 {
		t.Fatalf("img run -d: %d, %s%s", code, o, e)
	}
	for i, victim := range []string{"img-worker", "img-coord"} {
		eventually(t, patience, "an image hangs", func() (bool, string) {
			_, err := c.Names().Stat(ctx, mark(i+1))
			return err == nil, fmt.Sprint(err)
		})
		if victim == "img-coord" {
			killLeader(t, c, "/img/job")
		} else if err := c.Kill(ctx, procNamed(t, n, victim), 0); err != nil {
			t.Fatal(err)
		}
	}
	o, e, code = n.Ctl("img", "resume", "job", "-o", "json")
	var s img.Summary
	if err := json.Unmarshal([]byte(o), &s); err != nil || code != 0 || s.State.Done != 4 {
		t.Fatalf("img resume: %d, %v, %s%s", code, err, o, e)
	}
	if s.State.Terms != 2 || s.State.Failures != 1 || s.State.Attempts != 6 {
		t.Errorf("%d terms, %d failures, %d attempts; want 2, 1, 6: %+v", s.State.Terms, s.State.Failures, s.State.Attempts, s.State)
	}
	for name, want := range map[string]string{"a.png": "first", "b.png": "once /mark1", "c.png": "once /mark2", "d.png": "last"} {
		if got := fileAt(t, n, "/ux/~local/out/"+name); string(got) != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	n.Ctl("kill", procNamed(t, n, "img-worker").Short()) // the one that hangs, of the coordinator that was killed
	assertNoJob(t, n)
}

// A worker that fails each time costs its own image, after so many tries, and no
// other; the reason names what happened.
func TestPaper5_ImagesThatBreakTheirWorker(t *testing.T) {
	n := StartNode(t)
	putFiles(t, n, "/ux/~local/in", map[string][]byte{"a": []byte("fine"), "b": []byte("panic"), "c": []byte("hungry"), "d": []byte("hang"), "e": []byte("fine")})
	s, code := imgRun(t, n, "--program", Proc(t, "imgtest"), "--in", "/ux/~local/in", "--out", "/ux/~local/out", "--size", "9x9", "--tries", "2", "--task-limit", "1s", "--memory", "64MiB")
	if code != 1 || s.State.Done != 2 || s.State.Failed != 3 {
		t.Fatalf("status %d, %+v", code, s.State)
	}
	for _, r := range s.Images {
		want := map[string]string{"b": "exited 2", "c": "oom", "d": "limit of 1s"}[r.Name]
		if !strings.Contains(r.Error, want) || want != "" && !strings.Contains(r.Error, "tried 2 times") || (want == "") != (r.Error == "") {
			t.Errorf("%s: %q, want %q", r.Name, r.Error, want)
		}
	}
	assertNoJob(t, n)
	for name, args := range map[string][]string{
		"another job's output": {"--in", "/ux/~local/in", "--out", "/ux/~local/out"},
		"no input":             {"--in", "/ux/~local/nothing", "--out", "/ux/~local/out2"},
		"a file":               {"--in", "/ux/~local/in/a", "--out", "/ux/~local/out2"},
	} {
		if o, e, code := n.Ctl(append([]string{"img", "run", "--size", "9x9"}, args...)...); code != 1 {
			t.Errorf("%s: status %d, %s%s", name, code, o, e)
		}
	}
	if o, e, code := n.Ctl("img", "run", "--in", "/a", "--out", "/b"); code != 2 || !strings.Contains(e, "--size 640x640") {
		t.Errorf("no size: status %d, %s%s", code, o, e)
	}
}

// Clients give images to a service, as bytes and by path; when too many wait, more
// are told so at once.
func TestPaper5_ImageService(t *testing.T) {
	n := StartNode(t)
	files, sizes := pictures(t)
	putFiles(t, n, "/ux/~local/in", files)
	first, e, code := n.Ctl("img", "serve", "/svc/img")
	if code != 0 {
		t.Fatalf("img serve: %d, %s%s", code, first, e)
	}
	here := t.TempDir()
	if err := os.WriteFile(here+"/photo.jpg", files["photo1.JPG"], 0o644); err != nil {
		t.Fatal(err)
	}
	for _, place := range [][2]string{{"local:" + here + "/photo.jpg", "local:" + here + "/small.jpg"}, {"/ux/~local/in/photo1.JPG", "/ux/~local/small.jpg"}, {"/ux/~local/in/photo1.JPG", "local:" + here + "/other.jpg"}} {
		if o, e, code := n.Ctl("img", "submit", "/svc/img", place[0], "--size", "64x64", "--out", place[1]); code != 0 || !strings.Contains(o, "500x300") {
			t.Errorf("img submit %v: %d, %s%s", place, code, o, e)
		}
		assertSmall(t, place[1], fileAt(t, n, place[1]), sizes["photo1.JPG"])
	}
	svc, err := img.Dial(minute(t), n.Client("default").Client, "/svc/img")
	if err != nil {
		t.Fatal(err)
	}
	defer svc.Close()
	none, why := bad()
	small := img.Options{Width: 64, Height: 64}
	for name, b := range none {
		if _, _, err := svc.Scale(minute(t), img.Request{Options: small}, b); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), why[name]) {
			t.Errorf("%s: %v, want invalid: %s", name, err, why[name])
		}
	}
	for name, q := range map[string]img.Request{"no size": {}, "a local path": {Options: small, In: "x"}, "an image over itself": {Options: small, In: "/a", Out: "/a"}} {
		if _, _, err := svc.Scale(minute(t), q, nil); api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if o, e, code := n.Ctl("img", "serve", "/svc/img"); code != 1 || !strings.Contains(e, "another path") {
		t.Errorf("a second service there: %d, %s%s", code, o, e)
	}
	n.Ctl("kill", strings.TrimSpace(first))
	assertNoJob(t, n)

	second, e, code := n.Ctl("img", "serve", "/svc/slow", "--program", Proc(t, "imgtest"), "--parallel", "1", "--queue", "1")
	if code != 0 {
		t.Fatalf("img serve: %d, %s%s", code, second, e)
	}
	slow, err := img.Dial(minute(t), n.Client("default").Client, "/svc/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	ended := make(chan error, 2)
	for i, word := range []string{"once /mark", "fine"} {
		go func() {
			_, out, err := slow.Scale(minute(t), img.Request{Options: small}, []byte(word))
			if err == nil && string(out) != word {
				err = fmt.Errorf("%q came back for %q", out, word)
			}
			ended <- err
		}()
		eventually(t, patience, "it is in", func() (bool, string) {
			s, err := slow.Stats(minute(t))
			return int(s.Running+s.Waiting) == i+1, fmt.Sprint(s, err)
		})
	}
	if _, _, err := slow.Scale(minute(t), img.Request{Options: small}, []byte("fine")); api.KindOf(err) != api.Busy {
		t.Errorf("the third: %v, want busy", err)
	}
	eventually(t, patience, "the first hangs", func() (bool, string) {
		_, err := n.Client("default").Names().Stat(minute(t), "/mark")
		return err == nil, fmt.Sprint(err)
	})
	if err := n.Client("default").Kill(minute(t), procNamed(t, n, "img-worker"), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Errorf("an image that was let in: %v", err)
		}
	}
	n.Ctl("kill", strings.TrimSpace(second))
	assertNoJob(t, n)
}

// The load form counts images until it is asked to end.
func TestImageLoad(t *testing.T) {
	n := StartNode(t)
	o, e, code := n.Ctl("spawn", Proc(t, "img"), "burn")
	if code != 0 {
		t.Fatalf("spawn: %s%s", o, e)
	}
	c := n.Client("default")
	id := procNamed(t, n, "img")
	time.Sleep(time.Second)
	if err := c.Kill(minute(t), id, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	st := n.Await(c, id)
	if count, err := strconv.Atoi(string(st.Data)); err != nil || count < 1 || st.Message != fmt.Sprintf("%d images", count) {
		t.Errorf("%+v, %v; want some images", st, err)
	}
}

// The machine goes down in the middle of a job. When it is back, initd starts the
// coordinator, with nobody waiting, and what was done is not done again.
func TestFAULTS_F31_ImageJobOutlivesTheSystem(t *testing.T) {
	n := StartNode(t)
	putFiles(t, n, "/ux/~local/in", map[string][]byte{"a": []byte("first"), "b": []byte("once /mark"), "c": []byte("last")})
	if o, e, code := n.Ctl("img", "run", "-d", "--name", "job", "--program", Proc(t, "imgtest"), "--in", "/ux/~local/in", "--out", "/ux/~local/out", "--size", "9x9", "--parallel", "1"); code != 0 {
		t.Fatalf("img run -d: %d, %s%s", code, o, e)
	}
	eventually(t, patience, "an image hangs", func() (bool, string) {
		_, err := n.Client("default").Names().Stat(minute(t), "/mark")
		return err == nil, fmt.Sprint(err)
	})
	n.Kill()
	n.Start()
	var s img.Summary
	eventually(t, 40*time.Second, "the job ends", func() (bool, string) {
		o, e, _ := n.Ctl("img", "status", "job", "-o", "json")
		s = img.Summary{}
		json.Unmarshal([]byte(o), &s)
		return s.State.Phase.Final(), o + e
	})
	if s.State.Phase != job.Done || s.State.Done != 3 || s.State.Failed != 0 || s.State.Terms != 2 || s.State.Attempts != 4 {
		t.Errorf("%+v; want 3 images by 4 attempts in 2 terms", s.State)
	}
	for _, r := range s.Images {
		if want := map[string]int{"a": 1, "b": 2, "c": 1}[r.Name]; r.Attempts != want || r.Error != "" {
			t.Errorf("%s: attempt %d, %q; want attempt %d", r.Name, r.Attempts, r.Error, want)
		}
	}
	for name, want := range map[string]string{"a.png": "first", "b.png": "once /mark", "c.png": "last"} {
		if got := fileAt(t, n, "/ux/~local/out/"+name); string(got) != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	assertNoJob(t, n)
}
