#!/usr/bin/env bash
# How many streams one process carries: STREAMS of one reel, STREAMS of 50 reels, then more and more until something breaks.
# They push to a sink of ours in another process, which discards. Prints the table of docs/performance.md.
#
#   benches/density.sh [STREAMS] [SECONDS]      1000 streams, 60 s
#
#   PARTS="one many ramp"   which of the three
#   STEP=250                streams added at a time by the ramp, STEP_SECONDS=10 each
#   SOURCE=reels|direct     play from reels (default), or through libav
#   TLS=1                   over RTMPS
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

streams=${1:-1000} seconds=${2:-60}
parts=${PARTS:-one many ramp}
one=$cache/720p-2650k.mp4
make_clip "$one" 1280x720 2650
many=()
case " $parts " in *" many "*)
    # Of the same bitrate, and no two with the same bytes; smaller pictures are quicker to make.
    for number in $(seq 50); do
        many+=("$cache/many/360p-2650k-$number.mp4")
        make_clip "${many[-1]}" 640x360 2650 "$number"
    done ;;
esac
build_programs
# Four descriptors a stream: socket, poll, waker, reel.
ulimit -n "$(ulimit -Hn)"
exec python3 benches/density.py --programs "$target/dist" --streams "$streams" --seconds "$seconds" --parts "$parts" \
    --source "${SOURCE:-reels}" --tls "${TLS:-0}" --step "${STEP:-250}" --step-seconds "${STEP_SECONDS:-10}" \
    --one "$one" --many "${many[@]}"
