#!/bin/sh
# fetch.sh S|M DIR: real photographs, fetched once.
#
#   S  15 JPEG files of Debian's lomiri-wallpapers-16.04, 16 MB
#   M  S, and the photographs of mate-backgrounds, about 30, 47 MB more
#
# apt-get update must have been run. DIR is there when it is whole, and then
# nothing is fetched.
set -eu

fail() { echo "fetch.sh: $*" >&2; exit 1; }
[ $# = 2 ] || fail "usage: fetch.sh S|M DIR"
which=$1 dir=$2
[ ! -d "$dir" ] || exit 0
mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir "$work/out"

# photos PACKAGE: its images, by their names alone.
photos() {
	(cd "$work" && apt-get download -qq "$1" >/dev/null) || fail "apt has not given $1 (apt-get update)"
	mkdir "$work/deb"
	dpkg -x "$work/$1"_*.deb "$work/deb"
	find "$work/deb" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' -o -iname '*.webp' \) -exec cp {} "$work/out" \;
	rm -rf "$work/deb" "$work/$1"_*.deb
}

case $which in
S) photos lomiri-wallpapers-16.04 ;;
M)
	photos lomiri-wallpapers-16.04
	photos mate-backgrounds
	;;
*) fail "$which: the sets are S and M" ;;
esac
mv "$work/out" "$dir"
