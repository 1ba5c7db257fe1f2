#!/usr/bin/env bash
# What an edge costs: players on an origin, and as many on an edge that pulls from it, each in a process of its own. Then the origin is killed
# and comes back. Prints what docs/performance.md says of relays.
#
#   benches/relay.sh [PLAYERS]      500
#
#   SECONDS_EACH=20         the window that is measured
#   ROUNDS=3                how often both sides take their turn; medians are shown
#   ROUND=0                 rest of the players between two looks at their sockets, ms; see benches/fanout.sh
#   KILLS=3                 how often the origin is killed with all players on the edge
#   PROGRAMS=DIR            where the measuring programs are; without it they are built
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

clip=$cache/720p-2650k.mp4
make_clip "$clip" 1280x720 2650
if [ -z "${PROGRAMS:-}" ]; then
    cargo build --locked --quiet --profile dist -p flowcast-bench --bin players --bin fanout_server
    PROGRAMS=$target/dist
fi
ulimit -n "$(ulimit -Hn)"
exec python3 benches/relay.py --programs "$PROGRAMS" --clip "$clip" --seconds "${SECONDS_EACH:-20}" --rounds "${ROUNDS:-3}" --round "${ROUND:-0}" \
    --kills "${KILLS:-3}" "${1:-500}"
