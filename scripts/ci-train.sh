#!/usr/bin/env bash
# A batch job: train from CONFIG into OUT; with QRELS, also evaluate the test run. rankcli's exit codes are passed on,
# and after 130 or 143 (interrupted, saved) the same job goes on where it stopped.
#
#   CONFIG=configs/vaswani.yaml OUT=runs/vaswani scripts/ci-train.sh trainer.niters=2
#
# CONFIG    configuration file (required)
# OUT       run directory; default runs/<stem of CONFIG>
# QRELS     judgments of the test queries
# BASELINE  a TREC run to compare the test run with
# Arguments are configuration overrides, KEY=VALUE. Results are JSON on stdout, everything else is on stderr.
set -euo pipefail
: "${CONFIG:?names the configuration file}"
stem=$(basename "$CONFIG")
OUT=${OUT:-runs/${stem%.*}}
rankcli train --config "$CONFIG" --out "$OUT" --json "$@"
if [ -n "${QRELS:-}" ]; then
    rankcli evaluate --model "$OUT" --qrels "$QRELS" --run "$OUT/test.run" ${BASELINE:+--baseline "$BASELINE"} --json
fi
