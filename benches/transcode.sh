#!/usr/bin/env bash
# What encoding costs beside the `ffmpeg` program with the same settings: CPU per picture of decoding and encoding one clip as
# fast as it goes, memory of one more stream that is encoded as it plays, and what encoding the sound alone costs.
#
#   benches/transcode.sh [PAIRS]        7 pairs of each, alternating
#
#   PARTS="cpu memory sound"   which of them; "instructions" counts with callgrind what cpu measures (three minutes, wants valgrind)
#   FLOWCAST_TEST_MEDIA=DIR    real sound for the third, from the test media; without it the clip's own
#   PRESETS="ultrafast veryfast"
#   CLIP=FILE                  another clip than the default: 720p at 30 a second, 20 s, B-frames, AAC
#
# Needs nobody else on the machine; the ratio of each pair is what counts, and the median of them.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

clip=${CLIP:-$cache/720p-2650k.mp4}
[ -n "${CLIP:-}" ] || make_clip "$clip" 1280x720 2650
cargo build --locked --quiet --profile dist -p flowcast-bench --bin transcode
exec python3 benches/transcode.py --clip "$clip" --pairs "${1:-7}" --parts "${PARTS:-cpu memory sound}" \
    --presets "${PRESETS:-ultrafast veryfast}" --program "$target/dist/transcode"
