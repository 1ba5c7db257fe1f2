#!/usr/bin/env bash
# What fragments cost: how long one of 30 s and 8.8 MB takes to be handed over to a server that takes it as fast as it comes, and what memory it
# needs; then, in real time, CPU and memory of the process beside `ffmpeg -re -f concat` with the same file.
#
#   benches/fragments.sh [PAIRS] [SECONDS]     3 pairs of 20 s each, alternating; the hand-over as often
#
#   PROFILE=release    how the program is built; otherwise as the other benches' programs
#
# CPU time counts, so other load on the machine changes little; the hand-over is wall time and shows it.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

pairs=${1:-3} length=${2:-20}
profile=${PROFILE:-dist}
fragment=$cache/fragment-30s.mp4 warm=$cache/fragment-2s.mp4
if [ ! -e "$fragment" ]; then
    mkdir -p "$cache"
    echo "making $fragment" >&2
    ffmpeg -nostdin -v error -y -f lavfi -t 30 -i "testsrc2=size=1280x720:rate=30,noise=alls=12:allf=t" -f lavfi -t 30 -i "sine=sample_rate=48000" \
        -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 60 -keyint_min 60 -sc_threshold 0 -bf 2 -b:v 2210k -minrate 2210k -maxrate 2210k -bufsize 1105k \
        -x264-params nal-hrd=cbr -c:a aac -b:a 128k -ac 2 "$fragment.part.mp4"
    mv "$fragment.part.mp4" "$fragment"
fi
[ -e "$warm" ] || ffmpeg -nostdin -v error -y -i "$fragment" -t 2 -c copy "$warm"
cargo build --locked --quiet --profile "$profile" -p flowcast-bench --bin fragments --bin sink
program=$target/$profile/fragments
scratch=$(mktemp -d)
"$target/$profile/sink" >"$scratch/sink" </dev/null &
sink=$!
trap 'kill "$sink" 2>/dev/null; rm -rf "$scratch"' EXIT
until [ -s "$scratch/sink" ]; do sleep 0.1; done
to=$(head -n 1 "$scratch/sink")
for _ in 1 2 3 4 5; do echo "file '$fragment'"; done >"$scratch/list.txt"

for _ in $(seq "$pairs"); do
    echo "hand-over: $("$program" once "$fragment" "$warm" "$to")"
done
ticks=$(getconf CLK_TCK)
used() { # PID: ticks of CPU time
    sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}
ratios=()
for pair in $(seq "$pairs"); do
    flow=$("$program" paced "$fragment" "$to" --seconds "$length")
    ffmpeg -nostdin -v error -re -f concat -safe 0 -i "$scratch/list.txt" -c copy -f flv "rtmp://$to/live/peer$pair" &
    peer=$!
    sleep 2
    before=$(used "$peer")
    sleep "$length"
    after=$(used "$peer")
    memory=$(awk '/^VmRSS/ { print $2 }' "/proc/$peer/status")
    kill "$peer"
    wait "$peer" 2>/dev/null || true
    line=$(python3 -c 'import json,sys
flow, ticks, hz, seconds, memory = json.loads(sys.argv[1]), *map(float, sys.argv[2:])
cpu = ticks / hz * 1000 / seconds
print("%.2f ms/s and %.1f MiB, ffmpeg %.2f ms/s and %.1f MiB: %.3f %.3f" % (flow["cpu_ms_per_second"], flow["rss_kib"] / 1024, cpu, memory / 1024, flow["cpu_ms_per_second"] / cpu, flow["rss_kib"] / memory))' \
        "$flow" "$((after - before))" "$ticks" "$length" "$memory")
    echo "in real time: $line"
    ratios+=("${line##*: }")
done
printf '%s\n' "${ratios[@]}" | python3 -c 'import statistics,sys
rows=[[float(x) for x in line.split()] for line in sys.stdin]
print("median ratio of CPU %.3f, of memory %.3f" % tuple(statistics.median(c) for c in zip(*rows)))'
