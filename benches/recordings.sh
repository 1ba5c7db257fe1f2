#!/usr/bin/env bash
# What a recording in each format costs beside a push: STREAMS of one reel, pushed to a sink of ours, and recorded too. CPU time counts, so other
# load on the machine changes little. Goal for MP4: at most 0.3 of the push.
#
#   benches/recordings.sh [STREAMS] [SECONDS]      50 streams, 20 s for each window, three pairs of windows for each format
#
#   FORMATS=flv,mp4,mkv,ts   which formats
#   PROFILE=release          how the program is built; otherwise as the other benches' programs
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

clip=$cache/720p-2650k.mp4
make_clip "$clip" 1280x720 2650
profile=${PROFILE:-dist}
cargo build --locked --quiet --profile "$profile" -p flowcast-bench --bin recordings
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d "${TMPDIR:-/tmp}/flowcast-recordings-XXXXXX")
trap 'rm -rf "$work"' EXIT
"$target/$profile/recordings" "$clip" --directory "$work" --streams "${1:-50}" --window "${2:-20}" \
    --formats "${FORMATS:-flv,mp4,mkv,ts}" </dev/null
