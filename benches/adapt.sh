#!/usr/bin/env bash
# What a network that falls from 4 Mbit/s to 1.5, then to 0.6, and recovers does to a stream of 2.5 Mbit/s, with a bit rate that follows it and without: in a
# network namespace whose loopback is shaped by tbf. Says when the rate was lowered, when the receiver was less than a second behind again, its lag (p99),
# pictures that were lost, and when the rate was restored. The same trace for OBS Studio's algorithm and ours, simulated.
#
#   benches/adapt.sh [RUNS]     3 runs of each side, alternating; about 130 s each
#
#   PROFILE=release   how the tests are built; otherwise without debug assertions, too
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

runs=${1:-3} profile=${PROFILE:-release}
cargo test --locked --quiet --profile "$profile" -p flowcast-core --lib adapt::tests::the_three -- --nocapture 2>&1 | grep '^[a-zA-Z ]*.*: lowered'
cargo test --locked --quiet --profile "$profile" -p flowcast --test resilience --no-run
for run in $(seq "$runs"); do
    echo "run $run"
    for side in with without; do
        cargo test --locked --quiet --profile "$profile" -p flowcast --test resilience -- \
            --ignored --exact "adapt::measured_${side}_adaptation" --nocapture | grep "^$side:"
    done
done
