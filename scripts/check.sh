#!/usr/bin/env bash
# All checks, the same on a laptop and in CI: format, lint, types, tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
# Two processes: starting Ray and vLLM is mostly imports, which take one core each.
.venv/bin/python -m pytest -m "not engine" -n 2 --dist loadfile "$@"
echo "checks and tests without an engine: $((SECONDS - start)) s"
.venv/bin/python -m pytest -m engine -n 2 --dist loadfile "$@"
echo "all checks: $((SECONDS - start)) s"
