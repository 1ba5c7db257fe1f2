#!/usr/bin/env bash
# What sharing through Redis costs: 100,000 stream keys with 10,000 look-ups a second, by RedisKeys and by Engine::keys in turn; heartbeats of 1,000
# nodes, with their looks and without; renewals of 10,000 leases. Starts redis-server on a free port. CPU time counts: other load on the machine changes
# that little, but not so the percentiles. Goal: a look-up takes less than 1 ms longer at p99.
#
#   benches/cluster.sh [ARGUMENT...]    those of the program, see its --help: --seconds 20 --rounds 3
#
#   PROFILE=dist            how it is built; release builds sooner
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/common.sh

profile=${PROFILE:-dist}
cargo build --locked --quiet --profile "$profile" -p flowcast-bench --bin cluster
exec "$target/$profile/cluster" "$@"
