#!/usr/bin/env bash
# The complete check: format, lint, spelling, types, documentation, tests. Works on a clean clone.
#   bash scripts/test.sh [PYTEST ARGUMENTS]     for example: bash scripts/test.sh -m "not slow"
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh dev,docs
ruff format --check nmt scripts benchmarks tests
ruff check nmt scripts benchmarks tests
codespell *.md data/README.md benchmarks configs docs nmt scripts
mypy & # takes one core for half a minute
types=$!
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
python -m pytest -q --numprocesses auto --dist loadfile --no-loadscope-reorder "$@"
wait "$types"
