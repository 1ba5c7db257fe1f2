#!/usr/bin/env bash
# Checks the dependencies against deny.toml: licences, sources, versions, and known vulnerabilities.
# Exit status: 0 they are fine, 3 cargo-deny or the database of vulnerabilities cannot be had here (the rest was checked), else they are not.
set -euo pipefail
cd "$(dirname "$0")/.."

deny=$(scripts/tool.sh cargo-deny)
"$deny" --locked check bans licenses sources
if ! "$deny" --locked fetch db; then
    echo "deny: the RustSec database cannot be fetched, so known vulnerabilities were not looked for" >&2
    exit 3
fi
"$deny" --locked check --disable-fetch advisories
