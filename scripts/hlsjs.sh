#!/usr/bin/env bash
# Gets hls.js (Apache-2.0) from npm for the tests in a browser, once, and prints where it is.
# Exit status: 0 it is there, 3 npm or its registry cannot be reached.
set -euo pipefail
readonly VERSION=1.7.4
cd "$(dirname "$0")/.."
readonly TO=$PWD/tests/peers/target/bin/hls.js-$VERSION.min.js

if [ ! -s "$TO" ]; then
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    if ! command -v npm >/dev/null || ! (cd "$directory" && timeout 120 npm pack --silent "hls.js@$VERSION" >&2); then
        echo "hlsjs: npm cannot be reached" >&2
        exit 3
    fi
    tar -xzf "$directory"/*.tgz -C "$directory" package/dist/hls.min.js
    mkdir -p "$(dirname "$TO")"
    cp "$directory/package/dist/hls.min.js" "$TO.$$"
    mv "$TO.$$" "$TO"
fi
echo "$TO"
