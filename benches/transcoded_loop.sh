#!/usr/bin/env bash
# CPU of a loop that is encoded once: the first lap, in which its reel is made, and those after it; and what that is over a day,
# beside encoding every lap.
#
#   benches/transcoded_loop.sh [LAPS]   4 laps of 20 s
#
#   CLIP=FILE   another clip than the default: 720p at 30 a second, 20 s, B-frames, AAC
#   LENGTH=600  seconds of the file the day is computed for, from the laps that were measured
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

clip=${CLIP:-$cache/720p-2650k.mp4}
[ -n "${CLIP:-}" ] || make_clip "$clip" 1280x720 2650
cargo build --locked --quiet --profile dist -p flowcast-bench --bin transcode
exec python3 benches/transcode.py --clip "$clip" --parts loop --laps "${1:-4}" --length "${LENGTH:-600}" \
    --program "$target/dist/transcode"
