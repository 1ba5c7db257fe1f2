#!/usr/bin/env bash
# Compares the public API with that of the last release (the newest tag v*) and fails if the version number does not allow the change.
# Exit status: 0 it does, 3 there is no release yet or cargo-semver-checks cannot be had here, else it does not.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! release=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null); then
    echo "semver: no tag v* is reachable: nothing has been released, so there is no API to compare with" >&2
    exit 3
fi
checks=$(scripts/tool.sh cargo-semver-checks)
"$checks" semver-checks --workspace --baseline-rev "$release"
