#!/usr/bin/env bash
# What an HLS output costs beside a push and a recording: CPU time of STREAMS loops of one reel, each with one output, for SECONDS.
#
#   benches/hls.sh [STREAMS] [SECONDS] [RUNS]     20 streams, 20 s, 3 runs of each side, alternating
#
#   SIDES="push record hls hls-ts"   which
#   CLIP=FILE                        another clip than the default: 720p, 2.65 Mbit/s in all, a keyframe every 2 s, AAC at 128 kbit/s
#   PROFILE=release                  how the example is built; otherwise as the other benches' programs
#
# Recordings and segments go to a directory in memory (/dev/shm), so that no disk is measured. The push goes to a sink in another process, which discards.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

streams=${1:-20} seconds=${2:-20} runs=${3:-3}
sides=${SIDES:-push record hls hls-ts}
clip=${CLIP:-$cache/720p-2650k.mp4}
[ -n "${CLIP:-}" ] || make_clip "$clip" 1280x720 2650
profile=${PROFILE:-dist}
cargo build --quiet --profile "$profile" --features libav --example loop_file
cargo build --quiet --profile "$profile" -p flowcast-bench --bin sink
scratch=$(mktemp -d -p /dev/shm)
"$target/$profile/sink" >"$scratch/sink" </dev/null &
sink=$!
trap 'kill "$sink" 2>/dev/null; rm -rf "$scratch"' EXIT
until [ -s "$scratch/sink" ]; do sleep 0.1; done
to=$(head -n 1 "$scratch/sink")

for run in $(seq "$runs"); do
    for side in $sides; do
        mkdir -p "$scratch/out"
        case $side in
            push) output=(--to "rtmp://$to/live/{}") ;;
            record) output=(--record "$scratch/out/{}.mp4") ;;
            hls) output=(--hls "$scratch/out/{}") ;;
            hls-ts) output=(--hls "$scratch/out/{}" --hls-format mpegts) ;;
        esac
        printf 'run %s, %s: ' "$run" "$side"
        "$target/$profile/examples/loop_file" "$clip" --reels "$scratch/reels" --streams "$streams" --seconds "$seconds" --json "${output[@]}" 2>/dev/null | tail -n 1 |
            python3 -c 'import json, sys; it = json.load(sys.stdin); print("%.2f ms of CPU per stream-second, %d KB resident" % (it["cpu_ms_per_stream_second"], it["rss_kb"]))'
        rm -rf "$scratch/out"
    done
done
