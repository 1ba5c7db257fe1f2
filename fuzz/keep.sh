#!/usr/bin/env bash
# usage: fuzz/keep.sh [TARGET...]
# Chooses anew what is kept for every target, or for those named: few inputs (150 at most) that together reach about
# every place in the code that the kept ones and those found since reach. Inputs that once broke something (broken_*)
# stay in any case.
set -euo pipefail
cd "$(dirname "$0")"
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(cargo fuzz list --fuzz-dir .)
for target in "${targets[@]}"; do
    kept=../crates/rtmp/tests/corpus/$target
    mkdir -p "corpus/$target" "$kept"
    find "$kept" -type f ! -name 'broken_*' -exec mv -t "corpus/$target" {} +
    # Places only: with counts of how often each is passed there would be thousands of inputs.
    cargo fuzz run --fuzz-dir . --sanitizer none "$target" "$kept" "corpus/$target" -- -set_cover_merge=1 -use_counters=0
    # The long ones reach the most.
    mapfile -t too_many < <(find "$kept" -type f ! -name 'broken_*' -printf '%s %p\n' | sort -rn | tail -n +151 | cut -d' ' -f2-)
    ((${#too_many[@]} == 0)) || rm -- "${too_many[@]}"
done
