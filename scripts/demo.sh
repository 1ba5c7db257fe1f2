#!/usr/bin/env bash
# The demo on a fresh machine: set-up, then `loop_file` without arguments. Arguments are handed to `loop_file`.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

scripts/setup.sh
exec cargo run --locked --release --example loop_file -- "$@"
