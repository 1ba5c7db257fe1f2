#!/usr/bin/env bash
# What hostile peers cost the embedded server, and what an honest publisher and player beside them notice: the attacks of
# tests/hostile with large numbers, one after the other, each on a server in a process of its own. Prints a line for each:
# resident memory, descriptors, CPU of the server; pictures, longest gap at the player and longest wait of the publisher of the
# honest stream; who was refused for what. The player's gap is about 100 ms without any attack: players get what came in the last 100 ms.
#
#   benches/hostile.sh [ATTACK...]     all of them: about 4 minutes
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
# Thousands of connections in one process.
ulimit -n "$(ulimit -Hn)"
ONLY="$*" RUST_BACKTRACE=0 cargo test --locked --quiet --release --test hostile -- --exact figures --ignored --nocapture --test-threads 1
