#!/bin/sh
# run.sh: the main job, from nothing: real text, a cluster of three nodes on this
# machine, a word count by procs, and the same count by one sequential program. Its
# status is 0 only when the two agree. make run calls it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
corpus=${SIGMA_CORPUS:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/sigma/corpus/S}
if ! "$here/../fetch.sh" S "$corpus"; then
	echo "run.sh: no corpus: a small part of it, which is in the repository, is used instead" >&2
	corpus=$here/corpus/small
fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/sigma-run.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
name=run-$(basename "$dir" | tr 'A-Z' 'a-z' | tr -dc 'a-z0-9')
"$top/bin/sigmad" dev --nodes 3 --name "$name" --data-dir "$dir/data" --run-dir "$dir/run" --cgroup-root "sigma-$name" --log-level warn "$@" -- "$here/count.sh" "$corpus"
