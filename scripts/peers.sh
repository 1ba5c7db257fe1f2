#!/usr/bin/env bash
# Builds the peers of the interop tests (tests/peers) and prints the directory their programs are in.
#
# FLOWCAST_PEERS_BIN overrides that directory, for this script and for the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

bin=${FLOWCAST_PEERS_BIN:-$PWD/tests/peers/target/bin}
target=${FLOWCAST_PEERS_TARGET:-$PWD/tests/peers/target}
mkdir -p "$bin"

cargo build --locked --manifest-path tests/peers/Cargo.toml --target-dir "$target" >&2
for program in xiu_server xiu_client rml_server rml_client; do
    ln -sf "$target/debug/$program" "$bin/$program"
done

source=tests/peers/c/librtmp_publish.c
if [ ! -e "$bin/librtmp_publish" ] || [ "$source" -nt "$bin/librtmp_publish" ]; then
    read -ra flags <<<"$(pkg-config --cflags --libs librtmp)"
    "${CC:-cc}" -O2 -Wall -Wextra -Werror -o "$bin/librtmp_publish" "$source" "${flags[@]}" >&2
fi
echo "$bin"
