#!/usr/bin/env bash
# What a machine that does not keep up does to streams that are encoded, with a ladder of qualities (Config::ladder) and without: twenty encodes of 720p25 for 90 s, of which
# ten stop then; and three encodes and a copy while something else takes all cores for a minute. Says how far streams fell behind, the steps they took, and after how
# long all were back at the first rung.
#
#   benches/load.sh [RUNS]     1 run of each side, alternating; about five minutes each
#
#   STREAMS=20 FEW=3   how many encodes at first, and beside the load
#   SIDES="with without"
#   PROFILE=release    how the tests are built; otherwise without debug assertions, too
#
# Twenty are too many for two cores; give more to a larger machine. It needs nobody else on the machine.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

runs=${1:-1} profile=${PROFILE:-release}
cargo test --locked --quiet --profile "$profile" -p flowcast --test transcode --no-run
for run in $(seq "$runs"); do
    echo "run $run"
    for side in ${SIDES:-with without}; do
        cargo test --locked --quiet --profile "$profile" -p flowcast --test transcode -- \
            --ignored --exact "ladder::measured_${side}_a_ladder" --nocapture | grep "^$side:"
    done
done
