#!/usr/bin/env bash
# Judges, prepares and plays damaged files of every container, and fails if one takes more than 400 MB or 15 s of CPU.
#
# usage: scripts/mutated_files.sh [COUNT [SEED]]
#   COUNT   damaged files of each container, default 300
#   SEED    the first seed, default 1: a seed gives the same file in every run
set -euo pipefail
cd "$(dirname "$0")/.."
export FLOWCAST_MUTATED=${1:-300} FLOWCAST_MUTATED_SEED=${2:-1}
exec nice cargo test -p flowcast --test field -- --ignored --exact --nocapture \
    mutated_files::many_damaged_files_of_each_container_stay_within_bounds
