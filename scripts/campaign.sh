#!/usr/bin/env bash
# The full campaign of bad inputs, kills and damage, with the counts of its cases, and of compiled kernels. Takes hours.
#   bash scripts/campaign.sh [PYTEST ARGUMENTS]     for example: bash scripts/campaign.sh -k damaged
# The complete check (scripts/test.sh) contains a short round. One failing case, by the name that is printed:
#   python -m pytest --campaign full 'tests/campaigns/test_kills.py::NAME[CASE]'
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh dev
python -m pytest -q --campaign full --numprocesses auto --dist loadfile tests/campaigns tests/test_compiled_kernels.py "$@"
