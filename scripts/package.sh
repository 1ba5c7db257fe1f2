#!/usr/bin/env bash
# Packs every crate that is published, checks what is in it, and builds each from its own package (target/package/).
# With --no-verify they are not built. The tree must be committed.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

members() { # members PUBLISH: the workspace's packages that are published (yes) or not (no)
    cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if (package["publish"] is None) == (sys.argv[1] == "yes"):
        print(package["name"])' "$1"
}

failed=no
published=$(members yes)
for crate in $published; do
    files=$(cargo package --locked --list --package "$crate" 2>/dev/null)
    for wanted in LICENSE-APACHE LICENSE-MIT README.md Cargo.toml; do
        grep -qx "$wanted" <<<"$files" || { echo "package: $crate lacks $wanted" >&2; failed=yes; }
    done
    if unwanted=$(grep -E '(^|/)(tests?|examples|benches|scripts|fuzz|\.ci)(/|\.rs$)|_tests?\.rs$|\.sh$|\.py$' <<<"$files"); then
        echo "package: $crate would publish:" $unwanted >&2
        failed=yes
    fi
    echo "$crate: $(wc -l <<<"$files") files"
done
[ "$failed" = no ]

excluded=()
for member in $(members no); do
    excluded+=(--exclude "$member")
done
# Cargo takes it that a version of a package never changes: what an earlier run unpacked and built of ours is not what is packed now.
version=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
print(json.load(sys.stdin)["packages"][0]["version"])')
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
for crate in $published; do
    rm -rf "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$crate-$version"
    find "$target" -path "*/.fingerprint/$crate-*" -prune -exec rm -rf {} +
done
# That examples, tests and benches are left out is what was asked for.
cargo package --locked --workspace "${excluded[@]}" "$@" 2> >(grep -v '^warning: ignoring .* not included in the published package' >&2)
