#!/usr/bin/env bash
# What a player costs: one stream of 2.65 Mbit/s to 1, 50, 200 and 1,000 players, from flowcast's server, nginx's RTMP module, the
# `rtmp` crate's server, flowcast by HTTP-FLV, and bare loops that write the same bytes prepared. Prints tables for docs/performance.md.
#
#   benches/fanout.sh [PLAYERS...]      1 50 200 1000
#
#   SECONDS_EACH=10         the window that is measured
#   ROUNDS=1                how often all sides take their turn; medians are shown
#   ROUND=0                 rest of the players between two looks at their sockets, ms: 0 reads as soon as something is there,
#                           so that every write wakes somebody; 5 leaves the waking out, as a network card would
#   SIDES="flowcast flowcast-0 http-flv nginx rtmp bare bare-0"    which; -0 is without merging
#                           srs and srs-http-flv need SRS
#   SRS=FILE                the program of SRS (https://github.com/ossrs/srs), if it is there
#   PEERS_BIN=DIR           where tests/peers was built; without it the `rtmp` crate is left out
#   PROGRAMS=DIR            where the measuring programs are; without it they are built
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

clip=$cache/720p-2650k.mp4
make_clip "$clip" 1280x720 2650
if [ -z "${PROGRAMS:-}" ]; then
    cargo build --locked --quiet --profile dist -p flowcast-bench --bin players --bin barefan --bin fanout_server
    PROGRAMS=$target/dist
fi
ulimit -n "$(ulimit -Hn)"
exec python3 benches/fanout.py --programs "$PROGRAMS" --clip "$clip" --seconds "${SECONDS_EACH:-10}" --rounds "${ROUNDS:-1}" --round "${ROUND:-0}" \
    --sides "${SIDES:-flowcast flowcast-0 http-flv nginx rtmp bare bare-0}" --peers "${PEERS_BIN:-$PWD/tests/peers/target/bin}" \
    ${SRS:+--srs "$SRS"} \
    "${@:-1 50 200 1000}"
