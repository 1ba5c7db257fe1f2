#!/usr/bin/env bash
# Whether deploy/kubernetes is as the schemas of Kubernetes want it: the oldest version it is for, and the newest that is known.
#
#   scripts/manifests.sh
#
# kubernetes-validate (Apache-2.0) has the schemas; it is got from PyPI into a directory of its own.
#
# Exit status: 0, 1 (something is wrong), 3 (Python or PyPI cannot be reached).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VALIDATOR=kubernetes-validate==1.37.0 OLDEST=1.30.0
tools=target/manifests
if ! [ -x "$tools/bin/kubernetes-validate" ]; then
    if ! python3 -m venv "$tools" >&2 || ! "$tools/bin/pip" install --quiet --disable-pip-version-check "$VALIDATOR" >&2; then
        rm -rf "$tools"
        echo "manifests: python3-venv or PyPI cannot be reached" >&2
        exit 3
    fi
fi
for version in "$OLDEST" ''; do
    "$tools/bin/kubernetes-validate" --strict --quiet ${version:+-k "$version"} deploy/kubernetes/{studio,autoscaler}.yaml
done
