#!/usr/bin/env bash
# What it costs to watch STREAMS of one reel: CPU of the monitor's thread, of usage records, and of a scrape for Prometheus. CPU time counts, so other
# load on the machine changes little. Goal for 1000 streams: less than 0.1 % of a core at the default interval.
#
#   benches/monitoring.sh [STREAMS] [SECONDS]      1000 streams, 60 s for each window
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

clip=$cache/360p-400k.mp4
make_clip "$clip" 640x360 400
cargo build --locked --quiet --profile dist -p flowcast-bench --bin monitoring
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d "${TMPDIR:-/tmp}/flowcast-monitoring-XXXXXX")
trap 'rm -rf "$work"' EXIT
"$target/dist/monitoring" "$clip" --reels "$work/reels" --streams "${1:-1000}" --seconds "${2:-60}" </dev/null
