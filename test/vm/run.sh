#!/bin/sh
# Runs σOS on Debian 12's own kernel in a virtual machine: cgroup v2 alone,
# AppArmor enforcing, the kernel's own 9P client. The machine is emulated in
# software, some fifty times slower than a real one: it is for what is right, not
# for what is fast. Needs root for apt-get where something is not installed, and
# bin/ built by make.
#
#	test/vm/run.sh [LSM …]
#
# boots once for each list of security modules (default: both, then AppArmor
# alone, there with the checks that this is about) and prints what the guest found, a line per check; status 1 when
# anything failed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${VM_DIR:-$(mktemp -d /tmp/sigma-vm.XXXXXX)}
keep=${VM_DIR:+yes}
limit=${VM_LIMIT:-600} # seconds for one boot; an idle machine needs half of it
mkdir -p "$work"
[ -n "$keep" ] || trap 'rm -rf "$work"' EXIT

missing=
for need in qemu-system-x86_64:qemu-system-x86 cpio:cpio depmod:kmod busybox:busybox-static mkfs.ext4:e2fsprogs apparmor_parser:apparmor; do
	PATH=$PATH:/sbin:/usr/sbin command -v "${need%%:*}" >/dev/null || missing="$missing ${need#*:}"
done
if [ -n "$missing" ]; then
	echo "vm: installing$missing" >&2
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi

# The kernel's package is unpacked, not installed.
if ! ls "$work"/kernel/boot/vmlinuz-* >/dev/null 2>&1; then
	package=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
	if [ -z "$package" ]; then
		apt-get update -qq
		package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
	fi
	mkdir -p "$work/deb" && (cd "$work/deb" && apt-get download -qq "$package" 2>/dev/null)
	dpkg -x "$work"/deb/*.deb "$work/kernel"
	rm -rf "$work/deb"
fi
version=$(ls "$work/kernel/lib/modules")
vmlinuz=$work/kernel/boot/vmlinuz-$version
[ -e "$work/kernel/lib/modules/$version/modules.dep" ] || depmod -b "$work/kernel" "$version"

# What the guest has: busybox, the build, AppArmor's parser, a few modules, and
# tests of packages that meet the kernel.
tree=$work/tree
rm -rf "$tree"
mkdir -p "$tree"/bin "$tree"/sbin "$tree"/etc "$tree"/proc "$tree"/sys "$tree"/dev "$tree"/run "$tree"/tmp "$tree"/var/lib "$tree"/mnt "$tree"/root "$tree/lib/modules" "$tree"/procs "$tree"/tests
cp "$(command -v busybox)" "$tree/bin/busybox"
cp "$root/bin/sigmad" "$tree/bin/sigmad" && ln -s sigmad "$tree/bin/sigmactl"
for p in hello-raw hello-c testproc probe; do cp "$root/bin/procs/$p" "$tree/procs/"; done
parser=$(command -v apparmor_parser || echo /sbin/apparmor_parser)
cp "$parser" "$tree/sbin/"
for lib in $(ldd "$parser" | grep -o '/[^ ]*'); do
	mkdir -p "$tree$(dirname "$lib")" && cp -L "$lib" "$tree$lib"
done
mkdir -p "$tree/usr/share/apparmor-features" && cp /usr/share/apparmor-features/features "$tree/usr/share/apparmor-features/" 2>/dev/null || true
mkdir -p "$tree/etc/apparmor" "$tree/etc/apparmor.d" && cp /etc/apparmor/parser.conf "$tree/etc/apparmor/" 2>/dev/null || true
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$tree/etc/passwd"
printf '127.0.0.1 localhost vm\n' >"$tree/etc/hosts"
# Modules in the order of their needs.
(
	cd "$work/kernel/lib/modules/$version"
	for m in virtio_pci virtio_blk crc32c_generic ext4 fuse 9p 9pnet_fd sch_htb sch_prio cls_cgroup dummy veth; do
		path=$(sed -n "s|^\([^:]*/$m\.ko\):.*|\1|p" modules.dep)
		for need in $(sed -n "s|^$path: *||p" modules.dep | tr ' ' '\n' | tac) $path; do
			echo "$need"
		done
	done | awk '!seen[$0]++'
) >"$tree/modules"
while read -r m; do
	mkdir -p "$tree/lib/modules/$(dirname "$m")" && cp "$work/kernel/lib/modules/$version/$m" "$tree/lib/modules/$m"
done <"$tree/modules"
(
	cd "$root"
	export CGO_ENABLED=0
	go build -trimpath -ldflags '-s -w' -o "$tree/bin/guest" ./test/vm/guest
	for p in runtime/cgroup runtime/lsm runtime/seccomp net/qos; do
		go test -c -o "$tree/tests/$(echo $p | tr / -)" "./$p"
	done
)
cat >"$tree/start" <<'START'
#!/bin/busybox sh
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t securityfs none /sys/kernel/security
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
hostname vm
ip link set lo up
echo 65536 >/proc/sys/kernel/pid_max
while read m; do insmod "/lib/modules/$m" 2>/dev/null; done </modules
ulimit -Hn 65536
/bin/guest </dev/null
sync
poweroff -f
START
chmod +x "$tree/start"
for link in $(busybox --list); do [ -e "$tree/bin/$link" ] || ln -s busybox "$tree/bin/$link"; done
# The root file system is a disk, for pivot_root does not leave an initramfs; that
# has no more in it than it takes to mount the disk.
small=$work/small
rm -rf "$small"
mkdir -p "$small"/bin "$small"/root "$small"/dev "$small"/proc
cp "$tree/bin/busybox" "$small/bin/"
cp -r "$tree/lib" "$small/lib" && rm -rf "$small"/lib/x86_64-linux-gnu
cp "$tree/modules" "$small/modules"
cat >"$small/init" <<'INIT'
#!/bin/busybox sh
busybox=/bin/busybox
$busybox mount -t devtmpfs dev /dev
while read m; do
	$busybox insmod "/lib/modules/$m"
	[ -b /dev/vda ] && $busybox mount -t ext4 /dev/vda /root 2>/dev/null && break
done </modules
exec $busybox switch_root /root /start
INIT
chmod +x "$small/init"
(cd "$small" && find . | cpio -o -H newc --quiet) >"$work/initrd"

status=0
[ $# -gt 0 ] || set -- landlock,yama,apparmor yama,apparmor
only=${VM_ONLY:-}
for lsm; do
	echo "== $version, lsm=$lsm"
	begin=$(date +%s)
	rm -f "$work/disk" && truncate -s 1G "$work/disk" && /sbin/mkfs.ext4 -q -F -d "$tree" "$work/disk"
	timeout "$limit" nice -n 10 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -no-reboot -nodefaults -nographic \
		-serial "file:$work/serial" -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" -kernel "$vmlinuz" -initrd "$work/initrd" \
		-append "console=ttyS0 quiet rw panic=-1 lsm=$lsm apparmor=1 systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all vm.only=$only" || true
	tr -d '\r' <"$work/serial" | sed -n 's/^.*vm: //p'
	if ! tr -d '\r' <"$work/serial" | grep -q 'vm: all [0-9]* checks are right'; then
		status=1
		echo "not all is right; the end of the console:"
		tail -n 40 "$work/serial"
	fi
	echo "== $(($(date +%s) - begin)) s"
	only=${VM_ONLY:-'kernel|apparmor|doctor|sigmad|layers|run$|profile|hostile'}
done
exit $status
