#!/usr/bin/env bash
# Time and CPU from `start()` to the first media byte, for a file of 5 s, of an hour and of ten hours: the first stream of a
# file with no reel yet, one that finds the reel, and the hundredth stream of the same file. Goal: 50 ms, 20 ms of CPU.
#
#   benches/start.sh                    5 runs of each; the median is shown
#
#   FILES="5s 1h 10h"   which
#   RUNS=5              of each
#   STREAMS=100         which stream is measured beside the others
#   SOURCE=reels|direct play from reels (default), or through libav
#   KEEP=1              keep the files (1.9 GB with those of ten hours) for the next time
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

source=${SOURCE:-reels} runs=${RUNS:-5}
clip=$cache/360p-400k.mp4
make_clip "$clip" 640x360 400
build_programs
ulimit -n "$(ulimit -Hn)"

made=() work=
finish() {
    [ -z "$work" ] || rm -rf "$work"
    [ -n "${KEEP:-}" ] || rm -f "${made[@]}"
}
trap finish EXIT
work=$(mktemp -d "${TMPDIR:-/tmp}/flowcast-start-XXXXXX")

declare -A seconds=([5s]=5 [1h]=3600 [10h]=36000)
for name in ${FILES:-5s 1h 10h}; do
    file=$cache/start-$name.mp4
    if [ ! -e "$file" ]; then
        echo "making $file" >&2
        made+=("$file" "$file.part.mp4")
        ffmpeg -nostdin -v error -y -stream_loop -1 -i "$clip" -t "${seconds[$name]}" -c copy "$file.part.mp4" </dev/null
        mv "$file.part.mp4" "$file"
    fi
    for ((run = 0; run < runs; run++)); do
        reels=()
        [ "$source" = direct ] || reels=(--reels "$work/reels-$run")
        "$target/dist/startup" "$file" "${reels[@]}" --streams "${STREAMS:-100}" </dev/null |
            sed "s/^{/{\"file\":\"$name\",/" | tee -a "$work/lines" >&2
        rm -rf "$work/reels-$run"
    done
done
python3 benches/start.py <"$work/lines"
