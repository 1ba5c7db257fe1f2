#!/usr/bin/env bash
# Gets from npm what tests load into a browser, once, and prints where it is.
#
#   scripts/for_browser.sh hls.js      plays HLS (Apache-2.0)
#   scripts/for_browser.sh axe-core    finds what keeps people out of a page (MPL-2.0)
#
# Exit status: 0 it is there, 2 nothing of that name is known, 3 npm or its registry cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
    hls.js) version=1.7.4 file=dist/hls.min.js ;;
    axe-core) version=4.14.1 file=axe.min.js ;;
    *)
        sed -n '4,5s/^#   //p' "scripts/${0##*/}" >&2
        exit 2
        ;;
esac
to=$PWD/tests/peers/target/bin/$1-$version.min.js
if [ ! -s "$to" ]; then
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    if ! command -v npm >/dev/null || ! (cd "$directory" && timeout 120 npm pack --silent "$1@$version" >&2); then
        echo "for_browser: npm cannot be reached" >&2
        exit 3
    fi
    tar -xzf "$directory"/*.tgz -C "$directory" "package/$file"
    mkdir -p "$(dirname "$to")"
    cp "$directory/package/$file" "$to.$$"
    mv "$to.$$" "$to"
fi
echo "$to"
