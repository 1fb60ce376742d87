#!/usr/bin/env bash
# All checks, the same on a laptop and in CI: format, lint, types, tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/python scripts/dev/link_tree.py
.venv/bin/mypy
# Two processes: starting Ray and vLLM is mostly imports, which take one core each. Without a bound PyTorch would take
# all cores in both, and wait for its own threads most of the time.
OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m "not engine and not ipex" -n 2 --dist loadfile --durations=12 "$@"
echo "checks and tests without an engine: $((SECONDS - start)) s"
# In the order of tests/conftest.py: the longest files first, which are not those with the most tests.
.venv/bin/python -m pytest -m engine -n 2 --dist loadfile --no-loadscope-reorder --durations=12 "$@"
echo "all checks: $((SECONDS - start)) s"
