#!/usr/bin/env bash
# The tests on a fresh machine: set-up with the peers, their build, then every test with no peer skipped.
# Arguments are handed to `cargo test --workspace`.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

scripts/setup.sh --peers
FLOWCAST_PEERS_BIN=$(scripts/peers.sh)
export FLOWCAST_PEERS_BIN FLOWCAST_PEERS=required
status=0
scripts/ffmpeg7.sh >&2 || status=$?
case $status in
    0) ;;
    3)
        echo "test: without FFmpeg 7.1, so the tests of codecs over Enhanced RTMP are skipped" >&2
        export FLOWCAST_FFMPEG7=unavailable
        ;;
    *) exit $status ;;
esac
# Most tests wait for something: as many at a time as there are processors would leave those idle.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((3 * $(nproc)))}
exec cargo test --locked --workspace "$@"
