#!/usr/bin/env bash
# The tests on a fresh machine: set-up with the peers, their build, then every test with no peer skipped.
#
#   scripts/test.sh               all of them: the test programs side by side, then the examples in the docs
#   scripts/test.sh ARGUMENT...   those of `cargo test --workspace ARGUMENT...`, one program after the other
#
# What a program says is printed once it has ended; the last line names those that failed.
# FLOWCAST_TEST_JOBS: programs at a time (default 3; most tests wait for something). RUST_TEST_THREADS: tests at a time in each.
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
# As many tests at a time as there are processors would leave those idle.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((3 * $(nproc)))}
[ $# = 0 ] || exec cargo test --locked --workspace "$@"

# shellcheck source=programs.sh
. scripts/programs.sh
# Those that take longest, the longest first; the others after them.
longest="transcode adaptation prepare flowcast_core field push_interop drivers churn sources reels resilience month server_interop looks"
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
list_programs >"$logs/built"
export say=1
started=$SECONDS
awk -F '\t' -v longest="$longest" '
    BEGIN { for (n = split(longest, names, " "); n > 0; n--) place[names[n]] = n }
    $1 != "example" { print ($1 in place ? place[$1] : 1000) "\t" $0 }' "$logs/built" |
    sort -s -k1,1n | cut -f2- | run_programs "$logs" "${FLOWCAST_TEST_JOBS:-3}"
failed=$(failed_programs "$logs")
echo "$(wc -l <"$logs/results") programs in $((SECONDS - started)) s; failed: ${failed:-none}"
cargo test --locked --workspace --doc
[ -z "$failed" ]
