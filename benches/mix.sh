#!/usr/bin/env bash
# What music under a live publisher costs: CPU time of the process that takes the publication, as it is, with music under its sound, and with
# picture and sound encoded, for SECONDS each.
#
#   benches/mix.sh [SECONDS] [RUNS]     20 s, 3 runs of each side, alternating
#
#   SIDES="copy mix encode"   which
#   CLIP=FILE                 another clip than the default: 720p, 2.65 Mbit/s in all, AAC at 128 kbit/s
#   MUSIC=FILE                what is under it; two pure tones by default, which AAC coders take longer over than over music
#   PROFILE=release           how the example is built; otherwise as the other benches' programs
#
# The publisher is the ffmpeg program, which copies; its time does not count.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

seconds=${1:-20} runs=${2:-3}
sides=${SIDES:-copy mix encode}
clip=${CLIP:-$cache/720p-2650k.mp4}
[ -n "${CLIP:-}" ] || make_clip "$clip" 1280x720 2650
music=${MUSIC:-$cache/music.mp3}
[ -e "$music" ] || ffmpeg -nostdin -v error -y -f lavfi -t 60 -i "aevalsrc=0.3*sin(330*2*PI*t)|0.3*sin(495*2*PI*t):s=44100" -b:a 192k "$music"
profile=${PROFILE:-dist}
cargo build --quiet --profile "$profile" --features libav --example mix
scratch=$(mktemp -d)
publisher=
trap '[ -z "$publisher" ] || kill "$publisher" 2>/dev/null; rm -rf "$scratch"' EXIT

for run in $(seq "$runs"); do
    for side in $sides; do
        case $side in
            copy) more=(--off) ;;
            mix) more=() ;;
            encode) more=(--encode) ;;
        esac
        rm -f "$scratch/out"
        "$target/$profile/examples/mix" "$music" --listen 127.0.0.1:0 --key bench-studio-key --seconds "$seconds" --json "${more[@]}" >"$scratch/out" 2>/dev/null &
        mixer=$!
        until grep -q '^publish to' "$scratch/out" 2>/dev/null; do sleep 0.1; done
        address=$(sed -n 's|^publish to rtmp://\([^/]*\)/.*|\1|p' "$scratch/out")
        ffmpeg -nostdin -v error -re -stream_loop -1 -i "$clip" -c copy -f flv "rtmp://$address/live/bench-studio-key" 2>/dev/null &
        publisher=$!
        wait "$mixer"
        kill "$publisher" 2>/dev/null || true
        wait "$publisher" 2>/dev/null || true
        publisher=
        printf 'run %s, %s: ' "$run" "$side"
        tail -n 1 "$scratch/out" |
            python3 -c 'import json, sys; it = json.load(sys.stdin); print("{cpu_ms_per_second:.2f} ms of CPU per second, {rss_kb} KB resident, {gaps} gaps, {drops} drops".format(**it))'
    done
done
