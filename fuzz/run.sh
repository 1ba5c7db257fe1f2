#!/usr/bin/env bash
# usage: fuzz/run.sh SECONDS [TARGET...]
# Fuzzes every target, or those named, for so long each, from the kept inputs on. Ends with 1 if one of them broke.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(cargo fuzz list --fuzz-dir .)
status=0
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    cargo fuzz run --fuzz-dir . --sanitizer none "$target" "corpus/$target" "../crates/rtmp/tests/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=512 -print_final_stats=1 || status=1
done
exit "$status"
