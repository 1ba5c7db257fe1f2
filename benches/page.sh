#!/usr/bin/env bash
# What the page costs with many streams: how soon it can be used, how evenly it draws, the server's CPU for those who watch, and the
# memory for one who does not read. The example `studio` with that many loops, headless Chromium, and clients that ask for what a
# page asks for. Prints tables for docs/performance.md.
#
#   benches/page.sh [STREAMS]           1000
#
#   SECONDS_EACH=20         a window
#   ROUNDS=3                how often each is measured
#   PAGES=10                pages that watch
#   PARTS="page watchers silent"    which
#   STUDIO=FILE             the program; without it, it is built
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

clip=$cache/180p-300k.mp4
make_clip "$clip" 320x180 300
if [ -z "${STUDIO:-}" ]; then
    cargo build --locked --quiet --profile dist --features state,schedule --example studio
    STUDIO=$target/dist/examples/studio
fi
ulimit -n "$(ulimit -Hn)"
exec python3 benches/page.py --studio "$STUDIO" --clip "$clip" --streams "${1:-1000}" --seconds "${SECONDS_EACH:-20}" \
    --rounds "${ROUNDS:-3}" --pages "${PAGES:-10}" --parts "${PARTS:-page watchers silent}"
