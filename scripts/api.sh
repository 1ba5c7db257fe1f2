#!/usr/bin/env bash
# Prints the public names of the library crates: one a line, with what it is, as rustdoc sees them.
#
#   scripts/api.sh [--counts] [CRATE...]
#
# In: crates by their package names; without any, those that are published. All features are on. Out: `fn flowcast::Engine::new` and so
# on, sorted; with --counts a table of how many there are instead. A name that is re-exported counts where it is exported, its methods,
# fields and variants where the type is defined. Hidden items and trait implementations are left out.
# rustdoc's JSON is unstable, so RUSTC_BOOTSTRAP lets the stable toolchain write it.
set -euo pipefail
cd "$(dirname "$0")/.."

counts=false
if [ "${1:-}" = --counts ]; then
    counts=true
    shift
fi
published=(flowcast-rtmp flowcast-av flowcast-core flowcast-server flowcast-http flowcast-redis flowcast)
crates=("$@")
[ ${#crates[@]} -gt 0 ] || crates=("${published[@]}")

# Beside the documentation for people, which has the same folder.
target=${CARGO_TARGET_DIR:-target}/api
# All of them: a name may be re-exported from another crate.
for crate in "${published[@]}"; do
    RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target cargo rustdoc --quiet --locked --lib --all-features -p "$crate" -- \
        -Z unstable-options --output-format json --cap-lints allow
done

python3 - "$target/doc" "$counts" "${crates[@]}" <<'PYTHON'
import json, sys
from collections import Counter

folder, counts, wanted = sys.argv[1], sys.argv[2] == "true", sys.argv[3:]
crates = {}


def crate(name):
    """The rustdoc of one of our crates; None for those of others."""
    if name not in crates:
        try:
            with open(f"{folder}/{name}.json") as file:
                crates[name] = json.load(file)
        except FileNotFoundError:
            crates[name] = None
    return crates[name]


def kind(item):
    return next(iter(item["inner"]))


def is_hidden(item):
    return any("doc(hidden)" in str(attribute) for attribute in item["attrs"])


def exports(docs, module):
    """Each name of a module with its item and the crate that has it; what is not ours has no item."""
    for id in module["inner"]["module"]["items"]:
        item = docs["index"].get(str(id))
        if item is None or is_hidden(item) or item["visibility"] != "public":
            continue
        if kind(item) != "use":
            yield item["name"], docs, item
            continue
        use = item["inner"]["use"]
        there, target = found(docs, use["id"])
        if not use["is_glob"]:
            yield use["name"], there, target
        elif target is not None and kind(target) == "module":
            yield from exports(there, target)
        elif target is not None and kind(target) == "enum":
            for variant in target["inner"]["enum"]["variants"]:
                yield there["index"][str(variant)]["name"], there, there["index"][str(variant)]


def found(docs, id):
    """The item of an id, in this crate or in another of ours."""
    item = docs["index"].get(str(id))
    if item is not None:
        return (found(docs, item["inner"]["use"]["id"]) if kind(item) == "use" else (docs, item))
    summary = docs["paths"].get(str(id))
    there = summary and crate(summary["path"][0])
    if not there:
        return None, None
    for other, path in there["paths"].items():
        if path["path"] == summary["path"] and path["kind"] == summary["kind"] and other in there["index"]:
            return there, there["index"][other]
    return None, None


def members(docs, item):
    """The public parts of an item that are defined with it."""
    inner = item["inner"][kind(item)]
    ids = []
    if kind(item) == "struct":
        shape = inner["kind"]
        ids += shape["plain"]["fields"] if isinstance(shape, dict) and "plain" in shape else []
    elif kind(item) == "enum":
        ids += inner["variants"]
    elif kind(item) == "trait":
        ids += inner["items"]
    elif kind(item) == "variant":
        shape = inner["kind"]
        ids += shape["struct"]["fields"] if isinstance(shape, dict) and "struct" in shape else []
    for id in inner.get("impls", []) if isinstance(inner, dict) else []:
        block = docs["index"].get(str(id))
        if block and block["inner"]["impl"]["trait"] is None:
            ids += block["inner"]["impl"]["items"]
    for id in ids:
        part = docs["index"].get(str(id))
        if part and part["name"] and not is_hidden(part) and part["visibility"] in ("public", "default"):
            yield part


WORDS = {"function": "fn", "struct_field": "field", "assoc_const": "const", "constant": "const", "assoc_type": "type", "type_alias": "type", "module": "mod", "macro": "macro"}


def walk(name, docs, module, path, seen):
    for exported, there, item in exports(docs, module):
        place = f"{path}::{exported}"
        if item is None:
            yield "re-export", place
            continue
        word = WORDS.get(kind(item), kind(item))
        if word == "mod" or (item["crate_id"] == 0 and there["root"] == item["id"]):
            own = there is docs
            yield ("mod" if own else "crate"), place
            if own and item["id"] not in seen:
                yield from walk(name, there, item, place, seen | {item["id"]})
            continue
        yield word, place
        # Of other crates only the name is here.
        if there is docs:
            yield from parts(docs, item, place)


def parts(docs, item, place):
    for part in members(docs, item):
        inside = f"{place}::{part['name']}"
        yield WORDS.get(kind(part), kind(part)), inside
        yield from parts(docs, part, inside) if kind(part) == "variant" else ()


rows = []
for package in wanted:
    name = package.replace("-", "_")
    docs = crate(name)
    root = docs["index"][str(docs["root"])]
    names = sorted(set(walk(name, docs, root, name, {docs["root"]})))
    if not counts:
        print("\n".join(f"{word} {path}" for word, path in names))
        continue
    words = Counter(word for word, _ in names)
    at_root = sum(path.count("::") == 1 for _, path in names)
    types = sum(words[word] for word in ("struct", "enum", "trait", "type", "union", "re-export"))
    rows.append((package, at_root, words["mod"], types, words["fn"], words["field"] + words["variant"], len(names)))
if counts:
    print("| crate | at the root | modules | types | functions | fields and variants | names in all |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print("| `{}` | {} |".format(row[0], " | ".join(f"{number:,}" for number in row[1:])))
PYTHON
