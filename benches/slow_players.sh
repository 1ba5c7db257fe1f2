#!/usr/bin/env bash
# What slow players cost the others: 500 players, of which 50 stop reading and 20 read one byte a second; once without merging
# and once as by default. Prints a JSON object for each, and a line a second on the standard error; `slowfan --help` says what else can be asked.
#
#   benches/slow_players.sh [SECONDS]      30
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

cargo build --locked --quiet --profile dist -p flowcast-bench --bin slowfan --bin fanout_server
ulimit -n "$(ulimit -Hn)"
for merge in 0 100; do
    "$target/dist/slowfan" --merge "$merge" --seconds "${1:-30}"
done
