#!/usr/bin/env bash
# Dockerfile.xpu, last step: xpoll itself, and the list of all that is installed (CycloneDX).
set -euo pipefail
cd "$(dirname "$0")/../.."
.venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation --editable .
.venv/bin/python -m xpoll.scripts.dev.sbom >sbom.cdx.json
.venv/bin/xpoll --help >/dev/null
