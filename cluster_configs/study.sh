#!/usr/bin/env bash
# Starts a study, or continues it when FOLDER holds one: the same command after every interruption.
# All configurations here run it. With RAY_ADDRESS in the environment the study runs on that
# cluster, otherwise on this machine.
#
# Change nothing here: the study is what follows FOLDER, the arguments of `gap-tune compare`. FOLDER
# may be in object storage, such as s3://bucket/digits, with credentials on every node.
# One command: bash cluster_configs/study.sh FOLDER digits-resnet --arms gap,fixed:0.9 --seeds 4
set -euo pipefail

folder=${1:?"the first argument must be a folder that all nodes see or an s3:// URI, but got none"}
shift

# Tune asks for one trial at a time when a searcher suggests them, so a cluster that starts empty
# would start its nodes one after the other.
export TUNE_MAX_PENDING_TRIALS_PG=${TUNE_MAX_PENDING_TRIALS_PG:-16}

# exec: a signal to this script must reach the study.
exec gap-tune compare "$@" --out "$folder" --resume
