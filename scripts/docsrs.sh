#!/usr/bin/env bash
# Documents every published crate as docs.rs does: from its package, without network, with DOCS_RS=1 and the features and arguments of
# its [package.metadata.docs.rs]. docs.rs is Ubuntu 24.04 with FFmpeg 6.1, its headers, clang and pkg-config. It uses a nightly
# compiler; here RUSTC_BOOTSTRAP lets the installed one take `feature(doc_cfg)`. Run scripts/package.sh first. Result: docsrs/doc in the target folder.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

built=${CARGO_TARGET_DIR:-$PWD/target}
# What is not in the cache yet; docs.rs, too, fetches before it cuts the network off.
cargo fetch --locked
without_network=()
if unshare -n true 2>/dev/null; then
    without_network=(unshare -n)
else
    echo "docsrs: no network namespace can be made here; only cargo is kept off the network" >&2
fi

# One line a crate: name, version, arguments for cargo, arguments for rustdoc.
crates=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["publish"] is not None:
        continue
    settings = package["metadata"]["docs"]["rs"]
    features = "--all-features" if settings.get("all-features") else "--features=" + ",".join(settings.get("features", []))
    print(package["name"], package["version"], features, " ".join(settings.get("rustdoc-args", [])), sep="\t")')

packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
while IFS=$'\t' read -r name version _; do
    crate=$built/package/$name-$version.crate
    [ -e "$crate" ] || { echo "docsrs: $crate is not there; run scripts/package.sh" >&2; exit 1; }
    tar -xzf "$crate" -C "$packages"
done <<<"$crates"

target=$built/docsrs
while IFS=$'\t' read -r name version features rustdoc_args; do
    echo "docsrs: $name" >&2
    # The other crates of ours are not on crates.io: their packages stand in for them.
    patches=()
    while IFS=$'\t' read -r other other_version _; do
        [ "$other" = "$name" ] || patches+=(--config "patch.crates-io.$other.path='$packages/$other-$other_version'")
    done <<<"$crates"
    cp Cargo.lock "$packages/$name-$version/" # the package's own names crates.io as the source of ours
    (
        cd "$packages/$name-$version"
        "${without_network[@]}" env DOCS_RS=1 CARGO_NET_OFFLINE=true RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="$rustdoc_args -Dwarnings" \
            CARGO_TARGET_DIR="$target" cargo rustdoc --quiet --lib "$features" "${patches[@]}"
    ) </dev/null
done <<<"$crates"
echo "docsrs: $target/doc" >&2
