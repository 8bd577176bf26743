package test

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// archive is an initial file system of Linux: cpio, in its newc form.
type archive struct {
	bytes.Buffer
	ino int
}

func (a *archive) add(name string, mode uint32, data []byte) {
	a.ino++
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", a.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() { a.Write(make([]byte, (4-a.Len()%4)%4)) }

// guest runs a shell script in a virtual machine with Debian's own kernel, and
// returns what it printed. This machine's loopback is 10.0.2.2 there.
func guest(t *testing.T, script string) string {
	t.Helper()
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("no qemu-system-x86_64 (apt-get install qemu-system-x86)")
	}
	kernel := filepath.Join(bin, "vm", "vmlinuz")
	if _, err := os.Stat(kernel); err != nil {
		t.Skip("no kernel for the guest (test/vmkernel.sh bin/vm)")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox (apt-get install busybox-static)")
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := elf.NewFile(bytes.NewReader(b)); err != nil || f.Section(".interp") != nil {
		t.Skip("busybox is not static (apt-get install busybox-static)")
	}
	a := &archive{}
	for _, d := range []string{"bin", "proc", "sys", "dev", "mnt", "mod", "tmp"} {
		a.add(d, 0o040755, nil)
	}
	a.add("dev/console", 0o020600, nil)
	a.add("bin/busybox", 0o100755, b)
	modules, _ := filepath.Glob(filepath.Join(bin, "vm", "*.ko"))
	for _, m := range modules {
		b, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		a.add("mod/"+filepath.Base(m), 0o100644, b)
	}
	a.add("init", 0o100755, []byte(`#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/ttyS0 >/dev/ttyS0 2>&1
/bin/busybox --install -s /bin
mount -t proc proc /proc
for m in /mod/*.ko; do insmod $m || echo "no $m"; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
echo BEGIN
sh -e /script && echo GOOD
echo END
poweroff -f
`))
	a.add("script", 0o100644, []byte(script))
	a.add("TRAILER!!!", 0, nil)
	initrd := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(initrd, a.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-accel", "tcg", // boots in seconds, and on machines that are guests themselves
		"-m", "256", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1",
		"-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile=",
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, args...)
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	own.Store(cmd.Process.Pid, true)
	err = cmd.Wait()
	own.Delete(cmd.Process.Pid)
	text := strings.ReplaceAll(out.String(), "\r", "")
	before, said, began := strings.Cut(text, "BEGIN\n")
	said, _, ended := strings.Cut(said, "END\n")
	if err != nil || !began || !ended {
		t.Fatalf("the guest ends with %v:\n%s", err, text)
	}
	if strings.Contains(before, "no /mod/") {
		t.Errorf("the guest begins with\n%s", before)
	}
	return said
}

// Debian's kernel mounts a realm, as any machine of an allowed range may.
func TestDebiansKernelMountsARealm(t *testing.T) {
	needRoot(t)
	if !long {
		t.Skip("make test-long runs it: a guest without help of the processor takes its time")
	}
	at := freePort(t)
	n := StartNode(t, "--gateway-9p", at)
	names := n.Client("default").Names()
	awaitScratch(t, names, 1)
	if _, err := names.PutFile(minute(t), "/hello", []byte("from inside\n")); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	said := guest(t, `
try() { "$@" || { echo "FAILED: $*"; exit 1; }; }
try mount -t 9p -o trans=tcp,port=`+port+`,version=9p2000.L,access=any,aname=`+n.tokenOf(t, "default", "ann")+` 10.0.2.2 /mnt
cd /mnt
[ "$(cat hello)" = "from inside" ]
for d in . ux/~local; do
	mkdir $d/dir
	echo one >$d/dir/f
	echo two >>$d/dir/f
	[ "$(cat $d/dir/f)" = "one
two" ]
	try cp -r $d/dir $d/copy
	try mv $d/copy/f $d/copy/g
	try mv $d/copy/g $d/dir/f
	try rmdir $d/copy
	ln -s f $d/dir/link
	[ "$(cat $d/dir/link)" = "$(cat $d/dir/f)" ]
	exec 3<$d/dir/f
	try rm $d/dir/f
	[ "$(cat <&3)" = "one
two" ] || { echo "FAILED: a file that is open and gone"; exit 1; }
	exec 3<&-
	i=0
	while [ $i -lt 40 ]; do : >$d/dir/many-$i; i=$((i+1)); done
	[ $(ls $d/dir | wc -l) = 41 ] || { echo "FAILED: ls"; exit 1; }
	try rm -r $d/dir
done
dd if=/bin/busybox of=/tmp/big bs=1M 2>/dev/null
try cp /tmp/big ux/~local/big
try cmp /tmp/big ux/~local/big
echo "written outside" >greeting
sync
cd /
try umount /mnt
`)
	if said != "GOOD\n" {
		t.Errorf("the guest says\n%s", said)
	}
	if b, i, err := names.GetFile(minute(t), "/greeting"); err != nil || string(b) != "written outside\n" || i.Owner != "ann" {
		t.Errorf("/greeting has %q of %q, %v", b, i.Owner, err)
	}
	want, err := os.Stat("/usr/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	if i, err := names.Stat(minute(t), "/ux/~local/big"); err != nil || i.Size() != want.Size() {
		t.Errorf("/ux/~local/big: %v; want %d bytes", err, want.Size())
	}
}
