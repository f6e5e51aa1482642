#!/usr/bin/env bash
# A study on this one machine, as many trials at once as it has CPU cores.
#
# Needs the package installed (`make test` once, or pip) and its python first in PATH; no cluster.
# Interrupt it whenever you like: the same command continues it from the last checkpoints, and at
# the end, or to look in between, `gap-tune report gap_tune_results/local` writes the report page.
#
# Change: the folder, and after it the study (workload, arms, seeds; `--cpus` leaves cores free).
# One command: bash cluster_configs/local/study.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

# A cluster named in this shell is not meant here.
unset RAY_ADDRESS

exec bash cluster_configs/study.sh gap_tune_results/local \
    digits-resnet --arms gap,fixed:0.5,fixed:0.9,fixed:0.99 --seeds 4
