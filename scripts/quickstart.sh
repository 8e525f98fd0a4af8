#!/usr/bin/env bash
# Installs the toolkit in .venv, trains a model that writes dates in ISO format, translates and evaluates.
#   bash scripts/quickstart.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh plots
run=runs/dates

python scripts/make_dates.py --output data/dates
nmt-train configs/dates.yaml --run "$run"
nmt-translate -m "$run" data/dates/test.text -o "$run/test.iso" --alignments "$run/test.links"
printf '2026년 11월 20일 금요일\n20 Nov 2026\n' > "$run/example.text"
nmt-translate -m "$run" "$run/example.text" -o "$run/example.iso" --attention "$run/example"

echo
echo "exact match on the test part, whose texts are not in the training part:"
nmt-eval "$run/test.iso" data/dates/test.iso --metrics exact
echo
paste "$run/example.text" "$run/example.iso"
echo
echo "run             $run (config.yaml, checkpoints, metrics.jsonl, train.log, samples)"
echo "translations    $run/test.iso of data/dates/test.text, alignments in $run/test.links"
echo "attention       $run/example/index.html, 0.png and 1.png; during training in $run/attention"
echo "try it          echo 'march 3rd, 1999' | .venv/bin/nmt-translate -m $run"
