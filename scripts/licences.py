#!/usr/bin/env python3
"""Writes docs/licences.md: every crate flowcast depends on, with its version and licence, from Cargo.lock.

    scripts/licences.py            writes the file
    scripts/licences.py --check    exits with 1 if the file is not what would be written
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "licences.md"
HEAD = """# Licences of the dependencies

Made by `scripts/licences.py` from `Cargo.lock`; CI checks that it is current. `deny.toml` says which licences are allowed.

The FFmpeg libraries are not among these crates: they are the system's, and have the licence they were built with (LGPL, or GPL
with `--enable-gpl`).
"""


def metadata():
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def reached(nodes, starts, with_dev):
    """Ids of all packages that `starts` need; development dependencies only those of `starts` themselves."""
    seen, waiting = set(), list(starts)
    while waiting:
        package = waiting.pop()
        if package in seen:
            continue
        seen.add(package)
        for dependency in nodes[package]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if kinds != {"dev"} or (with_dev and package in starts):
                waiting.append(dependency["pkg"])
    return seen


def table(packages):
    lines = ["| crate | version | licence |", "|---|---|---|"]
    for package in sorted(packages, key=lambda each: (each["name"], each["version"])):
        licence = package["license"] or f"see {package['license_file']}"
        name = f"[{package['name']}]({package['repository']})" if package["repository"] else package["name"]
        lines.append(f"| {name} | {package['version']} | {licence} |")
    return "\n".join(lines) + "\n"


def page():
    data = metadata()
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    members = set(data["workspace_members"])
    published = {member for member in members if packages[member]["publish"] is None}
    needed = reached(nodes, published, with_dev=False) - members
    others = reached(nodes, members, with_dev=True) - members - needed
    return (
        f"{HEAD}\n## In a program that uses flowcast, or needed to build it ({len(needed)}, all features and platforms)\n\n"
        f"{table(packages[each] for each in needed)}\n"
        f"## For tests, examples, benches and measuring programs only ({len(others)})\n\n"
        f"{table(packages[each] for each in others)}"
    )


def main():
    text = page()
    if sys.argv[1:] == ["--check"]:
        if not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
            print("docs/licences.md is not current: run scripts/licences.py", file=sys.stderr)
            sys.exit(1)
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
