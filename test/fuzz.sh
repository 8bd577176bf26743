#!/bin/sh
# Fuzzes every decoder that has a Fuzz function, one after the other, and prints a
# line for each. FUZZTIME (1m) is for each; KEEP=n copies that many of the inputs that
# opened new ways, the shortest ones, into testdata/fuzz of the package, which `go
# test` tries from then on. An input that breaks something is put there by go itself.
#
#	test/fuzz.sh [PACKAGE …]
set -eu
cd "$(dirname "$0")/.."
time=${FUZZTIME:-1m} keep=${KEEP:-0} status=0
[ $# -gt 0 ] || set -- $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
cache=$(go env GOCACHE)/fuzz/$(go list -m)
for pkg; do
	pkg=${pkg#./}
	for name in $(cat "$pkg"/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		if out=$(go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" ${PARALLEL:+-parallel $PARALLEL} "./$pkg" 2>&1); then
			execs=$(echo "$out" | sed -n 's/.*execs: \([0-9]*\).*/\1/p' | tail -1)
			printf 'ok    %-20s %-24s %12s inputs\n' "$pkg" "$name" "${execs:-0}"
		else
			status=1
			printf 'FAIL  %-20s %s\n%s\n' "$pkg" "$name" "$out"
		fi
		if [ "$keep" -gt 0 ] && [ -d "$cache/$pkg/$name" ]; then
			mkdir -p "$pkg/testdata/fuzz/$name"
			find "$cache/$pkg/$name" -type f -size -2k -printf '%s %p\n' | sort -n | head -n "$keep" | cut -d' ' -f2- |
				xargs -r cp -n -t "$pkg/testdata/fuzz/$name"
		fi
	done
done
exit $status
