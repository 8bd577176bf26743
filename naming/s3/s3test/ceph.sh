#!/bin/bash
# ceph.sh DIR CMD…: runs CMD with a Ceph of one machine that serves S3, named to it by
# SIGMA_S3_ENDPOINT and the others. Debian has it (as root: apt-get install
# --no-install-recommends radosgw ceph-mon ceph-osd). Everything is in DIR, which
# must not exist, or in memory; it listens on loopback, and ends with CMD.
#
#   naming/s3/s3test/ceph.sh /tmp/ceph go test -count 1 -v -run 'TestConformance/given' ./naming/s3
set -eu
[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
d=$1; shift
mkdir "$d"; mkdir "$d/mon" "$d/osd" "$d/run"
v2=${CEPH_PORT:-43300} v1=$((v2 + 1)) s3=$((v2 + 80))
fsid=$(cat /proc/sys/kernel/random/uuid) osd=$(cat /proc/sys/kernel/random/uuid)
secret=$(tr -d - < /proc/sys/kernel/random/uuid)
cat > "$d/ceph.conf" <<END
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$v2/0,v1:127.0.0.1:$v1/0]
public network = 127.0.0.0/8
keyring = $d/keyring
run dir = $d/run
admin socket = $d/run/\$name.\$pid.asok
pid file = $d/run/\$name.pid
log file = $d/\$name.log
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 2147483648
rgw frontends = beast endpoint=127.0.0.1:$s3
END
pids=()
end() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; wait; rm -rf "$d"; }
trap end EXIT
trap 'exit 130' INT TERM
conf=(-c "$d/ceph.conf") key=(ceph-authtool "$d/keyring" --gen-key)
"${key[@]}" --create-keyring -n mon. --cap mon 'allow *' > /dev/null
"${key[@]}" -n client.admin --cap mon 'allow *' --cap osd 'allow *' > /dev/null
ceph-authtool --create-keyring "$d/osd.keyring" --gen-key -n osd.0 > /dev/null
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$v2,v1:127.0.0.1:$v1]" "$d/monmap" > /dev/null
ceph-mon "${conf[@]}" --mkfs -i a --monmap "$d/monmap" --keyring "$d/keyring" --mon-data "$d/mon"
ceph-mon "${conf[@]}" -i a --mon-data "$d/mon" -f > "$d/mon.out" 2>&1 & pids+=($!)
ask() { timeout 60 ceph "${conf[@]}" "$@" > /dev/null 2> "$d/ask.out" || { cat "$d/ask.out" >&2; exit 1; }; }
ask osd new "$osd"
ask -i "$d/osd.keyring" auth add osd.0 osd 'allow *' mon 'allow profile osd'
own=(-i 0 --osd-data "$d/osd" --keyring "$d/osd.keyring")
ceph-osd "${conf[@]}" "${own[@]}" --mkfs --osd-uuid "$osd" 2> "$d/mkfs.out"
ceph-osd "${conf[@]}" "${own[@]}" -f > "$d/osd.out" 2>&1 & pids+=($!)
ask osd crush add osd.0 1.0 host=here root=default
timeout 120 radosgw-admin "${conf[@]}" user create --uid=sigma --display-name=sigma --access-key=sigma --secret="$secret" > "$d/user.out" 2>&1 || { cat "$d/user.out" >&2; exit 1; }
radosgw "${conf[@]}" -n client.admin --keyring "$d/keyring" --setuser root --setgroup root -f > "$d/rgw.out" 2>&1 & pids+=($!)
for _ in $(seq 300); do
	(exec 3<> "/dev/tcp/127.0.0.1/$s3") 2> /dev/null && break
	sleep 0.2
done
export SIGMA_S3_ENDPOINT=http://127.0.0.1:$s3 SIGMA_S3_REGION=us-east-1 SIGMA_S3_ACCESS_KEY=sigma SIGMA_S3_SECRET=$secret
"$@"
