#!/usr/bin/env bash
# flowcast, `ffmpeg` and the floor side by side: CPU time and memory of N looped copies of one clip, pushed in real time.
#
#   benches/versus.sh [STREAMS] [SECONDS] [RUNS]        40 streams, 60 s, 3 runs of each side, alternating
#
#   SIDES="ffmpeg direct reels bare"    which, of these and `rtmps` and `bare-tls`
#       ffmpeg    a process per stream, -c copy          direct    flowcast, reading through libav
#       reels     flowcast, playing a reel               rtmps     the same over TLS
#       bare      a thread per stream that writes the same bytes at the same tick, and nothing else
#       bare-tls  the same over TLS
#   TLS=1               adds rtmps and bare-tls
#   SINK=own|nginx      who receives: a sink that discards (default), or for RTMP nginx with its module
#   CLIP=FILE           another clip than the default: 720p, 2.65 Mbit/s in all, a keyframe every 2 s, AAC at 128 kbit/s
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

streams=${1:-40} seconds=${2:-60} runs=${3:-3}
sides=${SIDES:-ffmpeg direct reels bare}
[ "${TLS:-0}" = 0 ] || sides="$sides rtmps bare-tls"
clip=${CLIP:-$cache/720p-2650k.mp4}
[ -n "${CLIP:-}" ] || make_clip "$clip" 1280x720 2650
build_programs
ulimit -n "$(ulimit -Hn)"
exec python3 benches/versus.py --clip "$clip" --streams "$streams" --seconds "$seconds" --runs "$runs" \
    --sink "${SINK:-own}" --sides "$sides" --programs "$target/dist"
