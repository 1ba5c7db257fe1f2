#!/usr/bin/env bash
# What SRT costs: an output and an input of flowcast beside `ffmpeg -c copy`, CPU time of the processes (user and system) for SECONDS of one stream each.
#
#   benches/srt.sh [SECONDS] [RUNS]     20 s, 3 runs of each side, alternating
#
#   PROFILE=release   how the examples are built; otherwise as the other benches' programs
#
# Outputs are sent to an `ffmpeg` that listens and discards. Inputs come from an `ffmpeg` that sends the same clip, and are recorded as MPEG-TS on both sides,
# to a directory in memory (/dev/shm). Starting and libav's probing are counted on both sides.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

seconds=${1:-20} runs=${2:-3} profile=${PROFILE:-dist}
clip=$cache/720p-2650k.mp4
make_clip "$clip" 1280x720 2650
cargo build --quiet --profile "$profile" --features libav --example loop_file --example record
bin=$target/$profile/examples
scratch=$(mktemp -d -p /dev/shm)
peer=
trap 'kill $peer 2>/dev/null || true; rm -rf "$scratch"' EXIT
port=$((20000 + $$ % 20000))
quiet=(ffmpeg -nostdin -v error -y)

# cpu COMMAND...: milliseconds of CPU for each second of media.
cpu() {
    local TIMEFORMAT='%U %S' used
    used=$({ time "$@" >"$scratch/out" 2>&1 </dev/null; } 2>&1) || { cat "$scratch/out" >&2; return 1; }
    awk -v seconds="$seconds" '{ printf "%.2f\n", ($1 + $2) * 1000 / seconds }' <<<"$used"
}

# report SIDE COMMAND...: the same, as a line. The peer is started before, and is not counted: it is not waited for.
report() {
    local side=$1
    shift
    printf '%s\t%s ms of CPU per second\n' "$side" "$(cpu "$@")"
}

listen() {
    port=$((port + 1))
    "${quiet[@]}" -i "srt://127.0.0.1:$port?mode=listener" -c copy -f null - >/dev/null 2>&1 </dev/null &
    peer=$!
    disown
    sleep 1
}

send() {
    port=$((port + 1))
    "${quiet[@]}" -re -stream_loop -1 -i "$clip" -c copy -f mpegts "srt://127.0.0.1:$port?mode=listener" >/dev/null 2>&1 </dev/null &
    peer=$!
    disown
    sleep 1
}

end() {
    kill "$peer" 2>/dev/null || true
    peer=
}

for run in $(seq "$runs"); do
    echo "run $run"
    listen
    report "output: ffmpeg" "${quiet[@]}" -re -stream_loop -1 -i "$clip" -t "$seconds" -c copy -f mpegts "srt://127.0.0.1:$port"
    end
    listen
    report "output: flowcast" "$bin/loop_file" "$clip" --reels "$scratch/reels" --srt "srt://127.0.0.1:$port" --seconds "$seconds"
    end
    send
    report "input: ffmpeg" "${quiet[@]}" -i "srt://127.0.0.1:$port" -t "$seconds" -c copy -f mpegts "$scratch/ffmpeg.ts"
    end
    send
    report "input: flowcast" "$bin/record" "$scratch/flowcast-$run.ts" --from "srt://127.0.0.1:$port" --seconds "$seconds"
    end
done
