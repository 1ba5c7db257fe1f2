#!/usr/bin/env bash
# What a machine that does not keep up does to streams that are encoded, with a ladder of qualities (Config::ladder) and without: twenty encodes at 25 pictures a second for 90 s, of which
# ten stop then; and three encodes and a copy while something else takes all cores for a minute. Says how far streams fell behind, the steps they took, and after how
# long all were back at the first rung.
#
#   benches/load.sh [RUNS]     1 run of each side, alternating; about five minutes each
#
#   STREAMS=20 FEW=3   how many encodes at first, and beside the load
#   SIZE=480x270       of the clip that is encoded
#   SIDES="with without"
#   PROFILE=release    how the tests are built; otherwise without debug assertions, too
#
# For two cores: x264 takes about 0.14 of a core for an encode of 480x270 at `high`, 0.08 at `low`, 0.05 at `potato` (`ffmpeg -threads 1`, CPU time for 10 s), so twenty do not fit at
# `high`, and ten do, with room. Give more, or larger ones, to a larger machine; on a faster one, twenty of 880x496 are a little more than it can do. It needs nobody else on the machine.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

runs=${1:-1} profile=${PROFILE:-release}
cargo test --locked --quiet --profile "$profile" -p flowcast --test adaptation --no-run
for run in $(seq "$runs"); do
    echo "run $run"
    for side in ${SIDES:-with without}; do
        cargo test --locked --quiet --profile "$profile" -p flowcast --test adaptation -- \
            --ignored --exact "ladder::measured_${side}_a_ladder" --nocapture | grep --line-buffered "^$side:"
    done
done
