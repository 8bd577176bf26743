#!/bin/sh
# count.sh DIR: counts the words of a directory on the cluster that SIGMA_CONTEXT
# names, and compares the counts with those of one sequential program. run.sh calls
# it in a cluster of its own.
set -eu

corpus=$1
bin=$(cd "$(dirname "$0")/../../bin" && pwd)
place=/ux/~local/wc
"$bin/sigmactl" mkdir "$place"
echo "copying $(find "$corpus" -type f | wc -l) files, $(du -sh "$corpus" | cut -f1), to $place/in"
"$bin/sigmactl" cp -r "local:$corpus" "$place/in"
"$bin/sigmactl" node ls
"$bin/sigmactl" mr run --app wc --in "$place/in" --out "$place/out" --reducers 4
"$bin/procs/mrcheck" --out "$place/out" --top 10 "$corpus"
