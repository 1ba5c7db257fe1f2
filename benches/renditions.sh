#!/usr/bin/env bash
# Three sizes of one 1080p file, encoded in real time: CPU time of flowcast (examples/ladder), of one `ffmpeg` with three outputs, and of three
# `ffmpeg` processes; and of two streams that share one encoding beside one that has it alone.
#
#   benches/renditions.sh [SECONDS] [RUNS]     20 s, 3 runs of each side, alternating
#
#   SIDES="flowcast reels one three single shared"   which
#       flowcast   one process, decoded once: 1080p, 720p and 480p
#       reels      the same from reels, which were made before
#       one        one ffmpeg that decodes once and scales each size from the source
#       three      an ffmpeg for each size
#       single     flowcast, 720p alone
#       shared     flowcast, two streams of 720p
#   CLIP=FILE       another clip than the default: 1080p, 6 Mbit/s in all, a keyframe every 2 s, AAC at 128 kbit/s
#   PROFILE=release how the example is built; otherwise as the other benches' programs
#
# All encode with libx264, preset ultrafast, one thread, constant rate with a buffer of two seconds, GOPs of 2 s, no scene cuts; sound is copied. What comes
# out is recorded to a directory in memory (/dev/shm). Run it when nothing else runs.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

seconds=${1:-20} runs=${2:-3}
sides=${SIDES:-flowcast reels one three single shared}
clip=${CLIP:-$cache/1080p-6000k.mp4}
[ -n "${CLIP:-}" ] || make_clip "$clip" 1920x1080 6000
profile=${PROFILE:-dist}
cargo build --locked --quiet --profile "$profile" --features libav --example ladder
scratch=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$scratch"' EXIT

ladder() {
    "$target/$profile/examples/ladder" "$clip" --profile ladder-high --seconds "$seconds" --record "$scratch/out/{}.flv" "$@" >/dev/null 2>&1
}

# encoded SIZE KBPS NAME: the arguments of one output.
encoded() {
    printf '%s\n' -map 0:v:0 -map 0:a:0 -s "$1" -c:v libx264 -preset ultrafast -profile:v main -threads 1 \
        -b:v "$2k" -minrate "$2k" -maxrate "$2k" -bufsize "$((2 * $2))k" -g 60 -keyint_min 60 -sc_threshold 0 -bf 0 \
        -c:a copy -y "$scratch/out/$3.flv"
}

# ffmpegs ARGUMENTS: one process.
ffmpegs() {
    ffmpeg -nostdin -v error -re -stream_loop -1 -t "$seconds" -i "$clip" "$@" </dev/null >/dev/null 2>&1
}

side() {
    local large medium small
    mapfile -t large < <(encoded 1920x1080 4981 large)
    mapfile -t medium < <(encoded 1280x720 2500 medium)
    mapfile -t small < <(encoded 854x480 1256 small)
    case $1 in
        flowcast) ladder --no-reels --lines 1080,720,480 ;;
        reels) ladder --reels "$scratch/reels" --lines 1080,720,480 ;;
        single) ladder --no-reels --lines 720 ;;
        shared) ladder --no-reels --lines 720 --copies 2 ;;
        one) ffmpegs "${large[@]}" "${medium[@]}" "${small[@]}" ;;
        three)
            ffmpegs "${large[@]}" &
            ffmpegs "${medium[@]}" &
            ffmpegs "${small[@]}" &
            wait
            ;;
    esac
}

if [[ " $sides " = *" reels "* ]]; then
    # A lap, and what it takes to encode three sizes faster than that.
    mkdir -p "$scratch/out"
    seconds=45 side reels
    rm -rf "$scratch/out"
fi
TIMEFORMAT='%U %S'
for run in $(seq "$runs"); do
    for side in $sides; do
        mkdir -p "$scratch/out"
        used=$({ time (side "$side"); } 2>&1 | tail -n 1)
        printf 'run %s, %s: ' "$run" "$side"
        awk -v seconds="$seconds" '{ printf "%.1f %% of a core", ($1 + $2) / seconds * 100 }' <<<"$used"
        printf ', %s bytes\n' "$(cat "$scratch"/out/*.flv | wc -c)"
        rm -rf "$scratch/out"
    done
done
