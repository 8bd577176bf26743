package cgroup

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// v2Mount makes a directory that looks like a cgroup2 mount: groups are given
// with the processes in them.
func v2Mount(t *testing.T, controllers string, groups map[string]string) string {
	t.Helper()
	top := t.TempDir()
	for g, pids := range groups {
		dir := filepath.Join(top, g)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, dir, "cgroup.procs", pids)
		put(t, dir, "cgroup.controllers", controllers)
		if g != "/" {
			put(t, dir, "cgroup.type", "domain")
		}
	}
	return top
}

func put(t *testing.T, dir, name, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
}

const (
	v1Mounts = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:29 / /sys/fs/cgroup/cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpuacct
34 30 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 30 0:35 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
39 30 0:36 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
`
	unified = "40 30 0:37 / TOP rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
	v1Self  = "9:name=systemd:/\n8:pids:/\n4:memory:/agent/27f1\n2:cpuacct:/\n1:cpu:/\n"
)

func TestDetect(t *testing.T) {
	const at = "/sys/fs/cgroup/"
	plain := map[string]string{"cpu": at + "cpu", "cpuacct": at + "cpuacct", "memory": at + "memory/agent/27f1", "pids": at + "pids"}
	mine := map[string]string{"/": "1\n2\n", "/a": "", "/a/b": "77\n"}
	shared := map[string]string{"/": "1\n2\n", "/a/b": "77\n5\n"}
	for _, c := range []struct {
		name, self, mounts string
		controllers        string
		groups             map[string]string
		want               map[string]string // TOP stands for the v2 mount
		version            Version
		why                string
	}{
		{name: "v1", self: v1Self, mounts: v1Mounts, want: plain, version: V1},
		{name: "hybrid", self: v1Self + "0::/\n", mounts: v1Mounts + unified, controllers: "hugetlb", want: plain, version: Hybrid},
		{
			name: "v1 mounted together",
			self: "3:memory:/\n2:pids:/u\n1:cpu,cpuacct:/u\n",
			mounts: `31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:30 / /mnt/my\040groups rw - cgroup cgroup rw,memory
38 30 0:35 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
`,
			want:    map[string]string{"cpu": at + "cpu,cpuacct/u", "cpuacct": at + "cpu,cpuacct/u", "memory": "/mnt/my groups", "pids": at + "pids/u"},
			version: V1,
		},
		{
			name: "v1 in a container: the mounts show its own group only",
			self: "3:memory:/docker/f00\n2:pids:/docker/f00/x\n1:cpu,cpuacct:/elsewhere\n",
			mounts: `31 30 0:28 /docker/f00 /c/cpu rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:30 /docker/f00 /c/memory rw - cgroup cgroup rw,memory
38 30 0:35 /docker/f00 /c/pids rw - cgroup cgroup rw,pids
`,
			want:    map[string]string{"cpu": "/c/cpu", "cpuacct": "/c/cpu", "memory": "/c/memory", "pids": "/c/pids/x"},
			version: V1,
		},
		{
			name:   "v1 mounted twice: the writable place",
			self:   v1Self,
			mounts: "28 30 0:31 / /ro/memory ro,relatime - cgroup cgroup rw,memory\n" + v1Mounts,
			want:   plain, version: V1,
		},
		{
			name: "v1, started inside an earlier tree",
			self: "8:pids:/sigma/sys/n1\n4:memory:/agent/27f1/sigma-t/be/n1/r/3\n2:cpuacct:/sigma/sys/n1\n1:cpu:/sigma/sys/n1\n", mounts: v1Mounts,
			want: plain, version: V1,
		},
		{
			name: "v1, a group that is only called like one",
			self: "8:pids:/sigma/x\n4:memory:/agent/27f1\n2:cpuacct:/\n1:cpu:/\n", mounts: v1Mounts,
			want: map[string]string{"cpu": at + "cpu", "cpuacct": at + "cpuacct", "memory": at + "memory/agent/27f1", "pids": at + "pids/sigma/x"}, version: V1,
		},
		{
			name: "v2 at the root", self: "0::/\n", mounts: unified, controllers: "cpuset cpu io memory pids",
			groups: map[string]string{"/": "1\n2\n"}, want: map[string]string{"": "TOP"}, version: V2,
		},
		{
			name: "v2, own group with nobody else", self: "0::/a/b\n", mounts: unified, controllers: "cpu memory pids",
			groups: mine, want: map[string]string{"": "TOP/a/b"}, version: V2,
		},
		{
			name: "v2, own group shared", self: "0::/a/b\n", mounts: unified, controllers: "cpu memory pids",
			groups: shared, want: map[string]string{"": "TOP"}, version: V2, why: "process 5",
		},
		{
			name: "v2, started inside an earlier tree", self: "0::/a/b/sigma/sys/n1\n", mounts: unified, controllers: "cpu memory pids",
			groups: mine, want: map[string]string{"": "TOP/a/b"}, version: V2,
		},
		{
			name: "v2 has some of the controllers", self: "8:pids:/\n2:cpuacct:/\n1:cpu:/\n0::/a/b\n",
			mounts:      strings.ReplaceAll(v1Mounts, "rw,memory", "rw,blkio") + unified,
			controllers: "memory", groups: mine,
			want: map[string]string{"cpu": at + "cpu", "cpuacct": at + "cpuacct", "pids": at + "pids", "": "TOP/a/b"}, version: Hybrid,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := v2Mount(t, c.controllers, c.groups)
			l, err := detect(c.self, strings.ReplaceAll(c.mounts, "TOP", top), func(pid int) bool { return pid == 77 })
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range l.Dirs {
				l.Dirs[k] = strings.ReplaceAll(v, top, "TOP")
			}
			if !maps.Equal(l.Dirs, c.want) || l.Version != c.version {
				t.Errorf("detect = %v %v, want %v %v", l.Version, l.Dirs, c.version, c.want)
			}
			if !strings.Contains(l.Why, c.why) || (c.why == "") != (l.Why == "") {
				t.Errorf("Why = %q, want %q in it", l.Why, c.why)
			}
		})
	}
}

func TestDetectErrors(t *testing.T) {
	for _, c := range []struct {
		name, self, mounts string
		controllers        string
		typ                bool // the top has a type: it is no machine's root
		groups             map[string]string
		want               []string
	}{
		{name: "nothing", want: []string{"cpu, cpuacct, memory, pids", "mount cgroup2"}},
		{name: "v1 without memory", self: v1Self, mounts: strings.ReplaceAll(v1Mounts, "rw,memory", "rw,blkio"), want: []string{"no memory controller", "cgroup_enable=memory"}},
		{name: "hybrid without memory anywhere", self: "8:pids:/\n2:cpuacct:/\n1:cpu:/\n0::/\n", mounts: v1Mounts + unified, controllers: "hugetlb", groups: map[string]string{"/": ""}, want: []string{"no memory controller", "TOP/cgroup.controllers"}},
		{name: "v2 without pids", self: "0::/\n", mounts: unified, controllers: "cpu memory", groups: map[string]string{"/": ""}, want: []string{"no pids controller", "echo +pids"}},
		{name: "v1 read-only", self: v1Self, mounts: strings.ReplaceAll(v1Mounts, "/pids rw", "/pids ro"), want: []string{"pids", "read-only", "--privileged"}},
		{name: "v2 read-only", self: "0::/\n", mounts: strings.ReplaceAll(unified, "TOP rw", "TOP ro"), controllers: "cpu memory pids", groups: map[string]string{"/": ""}, want: []string{"read-only at TOP"}},
		{name: "v2 in a container that is in its top group", self: "0::/\n", mounts: unified, controllers: "cpu memory pids", typ: true, groups: map[string]string{"/": "77\n5\n"}, want: []string{"process 5", "TOP/init"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := v2Mount(t, c.controllers, c.groups)
			if c.typ {
				put(t, top, "cgroup.type", "domain")
			}
			l, err := detect(c.self, strings.ReplaceAll(c.mounts, "TOP", top), func(pid int) bool { return pid == 77 })
			if err == nil {
				t.Fatalf("detect = %v, want an error", l)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), strings.ReplaceAll(w, "TOP", top)) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestDescends(t *testing.T) {
	cmd := sleeper(t)
	for pid, want := range map[int]bool{os.Getpid(): true, cmd.Process.Pid: true, os.Getppid(): false, 1: false} {
		if got := descends(pid); got != want {
			t.Errorf("descends(%d) = %v, want %v", pid, got, want)
		}
	}
}
