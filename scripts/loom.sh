#!/usr/bin/env bash
# Tries the orders in which a few threads can ask for a place: the limiter under loom. Its own target folder, since everything is
# built with `--cfg loom`; without libav, which it does not need.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/loom RUSTFLAGS="${RUSTFLAGS:-} --cfg loom"
exec cargo test --locked -p flowcast-core --no-default-features --lib limiter::model "$@"
