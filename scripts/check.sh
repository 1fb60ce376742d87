#!/usr/bin/env bash
# All checks, the same on a laptop and in CI: format, lint, types, tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
.venv/bin/python -m pytest -m "not engine and not ipex" "$@"
echo "checks and tests without an engine: $((SECONDS - start)) s"
.venv/bin/python -m pytest -m engine "$@"
echo "all checks: $((SECONDS - start)) s"
