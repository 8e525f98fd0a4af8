#!/usr/bin/env bash
# The whole check: format, lint, types, tests. From a clean clone with nothing installed.
#   bash scripts/test.sh [PYTEST ARGUMENTS]     for example: bash scripts/test.sh -m "not slow"
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh dev
ruff format --check nmt scripts benchmarks tests
ruff check nmt scripts benchmarks tests
mypy
python -m pytest -q --numprocesses auto --dist loadfile "$@"
