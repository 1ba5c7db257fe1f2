#!/usr/bin/env bash
# Makes the page of flowcast-http from crates/http/page, with Node and npm: crates/http/src/page, which is part of the repository.
#
#   scripts/page.sh            writes it
#   scripts/page.sh --check    exits with 1 if it is not what would be written
#
# Exit status: 3 Node or npm's registry cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/../crates/http/page"

if ! command -v npm >/dev/null || ! npm ci --silent >&2; then
    echo "page: npm cannot be reached" >&2
    exit 3
fi
npx --no-install tsc
[ "${1:-}" = --check ] || exec node build.mjs
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
node build.mjs "$made"
for file in app.js app.css play.js licences.txt index.html; do
    cmp "$made/$file" "../src/page/$file" || {
        echo "page: crates/http/src/page/$file is not current: scripts/page.sh" >&2
        exit 1
    }
    # Packed by another zlib it has other bytes; what is in it counts.
    [ "$file" = index.html ] || cmp <(gzip -dc "../src/page/$file.gz") "../src/page/$file"
done
