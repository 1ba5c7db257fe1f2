#!/usr/bin/env bash
# Checks the workspace with the oldest Rust that Cargo.toml promises (rust-version), installing that toolchain where it is missing.
# Exit status: 0 it builds, 3 the toolchain cannot be had here, else it does not.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

oldest=$(sed -n 's/^rust-version = "\([0-9.]*\)"$/\1/p' Cargo.toml)
[ -n "$oldest" ] || { echo "msrv: Cargo.toml has no rust-version" >&2; exit 1; }
[[ $oldest == *.*.* ]] || oldest=$oldest.0
if [ "$(cargo --version | awk '{print $2}')" = "$oldest" ]; then
    exec cargo check --locked --workspace
fi
if ! cargo "+$oldest" --version >/dev/null 2>&1 &&
    ! timeout 300 rustup toolchain install "$oldest" --profile minimal --no-self-update </dev/null; then
    echo "msrv: Rust $oldest cannot be installed here" >&2
    exit 3
fi
exec cargo "+$oldest" check --locked --workspace
