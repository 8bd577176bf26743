#!/bin/sh
# vmkernel.sh DIR puts Debian's own kernel and the modules of a 9P client into DIR,
# for the test that mounts a realm in a virtual machine. It installs nothing.
set -e
out=$1
[ -n "$out" ] || { echo "usage: vmkernel.sh DIR" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
pkg=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
(cd "$tmp" && apt-get download -qq -o APT::Sandbox::User=root "$pkg" && dpkg-deb -x "$pkg"*.deb .)
mkdir -p "$out"
cp "$tmp"/boot/vmlinuz-* "$out/vmlinuz"
n=0
# In the order in which they can be loaded.
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net netfs fscache 9pnet 9pnet_fd 9p; do
	n=$((n + 1))
	cp "$(find "$tmp/lib/modules" -name $m.ko)" "$out/$(printf %02d $n)-$m.ko"
done
