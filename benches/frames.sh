#!/usr/bin/env bash
# A program that draws 1280x720 RGBA at 30 a second and goes live, in one process, beside the same program that pipes the same pixels to
# `ffmpeg` with the same settings of the encoder: CPU and memory of all processes, drawing included. Then the conversion alone, beside what
# `ffmpeg -vf scale` takes for it.
#
#   benches/frames.sh [PAIRS] [SECONDS]      3 pairs of 20 s each, alternating
#
#   PROFILE=release   how the program is built; otherwise as the other benches' programs
#
# CPU time counts, so other load on the machine changes little; the ratio of each pair is what counts, and the median of them.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

pairs=${1:-3} length=${2:-20}
profile=${PROFILE:-dist}
cargo build --locked --quiet --profile "$profile" -p flowcast-bench --bin frames
program=$target/$profile/frames
work=$(mktemp -d "${TMPDIR:-/tmp}/flowcast-frames-XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "drawing alone: $("$program" draw --seconds "$length")"
ratios=()
for pair in $(seq "$pairs"); do
    pipe=$("$program" pipe "$work/pipe.flv" --seconds "$length")
    flow=$("$program" flow "$work/flow-$pair.flv" --seconds "$length")
    echo "pipe to ffmpeg: $pipe"
    echo "in process:     $flow"
    ratios+=("$(python3 -c 'import json,sys; f,p=map(json.loads,sys.argv[1:]); print("%.3f %.3f" % (f["ms_per_second"]/p["ms_per_second"], f["rss_kib"]/p["rss_kib"]))' "$flow" "$pipe")")
    echo "  ratio of CPU and memory: ${ratios[-1]}"
    rm -f "$work"/*
done
printf '%s\n' "${ratios[@]}" | python3 -c 'import statistics,sys
rows=[[float(x) for x in line.split()] for line in sys.stdin]
print("median ratio of CPU %.3f, of memory %.3f (goal: at most 0.9)" % tuple(statistics.median(c) for c in zip(*rows)))'

echo "conversion alone, RGBA to I420, ms of CPU a picture:"
echo "  flowcast, 1 thread:  $("$program" convert)"
echo "  flowcast, 2 threads: $("$program" convert --threads 2)"
# ffmpeg reads as many pictures without and with the conversion: the difference is swscale's.
cpu_ms() {
    local used
    used=$( { TIMEFORMAT='%U %S'; time ffmpeg -nostdin -v error -f rawvideo -pix_fmt rgba -s 1280x720 -r 30 -i /dev/zero -frames:v 600 \
        -threads 1 -filter_threads 1 "$@" -f null - </dev/null; } 2>&1 )
    python3 -c 'import sys; u,s=map(float,sys.argv[1].split()); print((u+s)*1000/600)' "$used"
}
plain=$(cpu_ms -vf null -pix_fmt rgba)
for flags in fast_bilinear bilinear bicubic; do
    scaled=$(cpu_ms -vf "scale=1280:720:flags=$flags:out_color_matrix=bt709:out_range=limited,format=yuv420p" -pix_fmt yuv420p)
    python3 -c 'import sys; print("  ffmpeg, %s: %.3f" % (sys.argv[3], float(sys.argv[2]) - float(sys.argv[1])))' "$plain" "$scaled" "$flags"
done
