#!/usr/bin/env bash
# Dockerfile.xpu, last step: xpoll itself, and the list of all that is installed (CycloneDX).
set -euo pipefail
cd "$(dirname "$0")/../.."
.venv/bin/python -m pip wheel --no-cache-dir --no-deps --wheel-dir wheel .
# In .venv-ipex too: its steps are modules of xpoll, which need none of xpoll's requirements.
for environment in .venv .venv-ipex; do
    if [ -x "$environment/bin/python" ]; then
        "$environment/bin/python" -m pip install --no-cache-dir --no-deps --no-index wheel/*.whl
    fi
done
rm -rf wheel build xpoll.egg-info
.venv/bin/python -P -m xpoll.scripts.dev.sbom >sbom.cdx.json
.venv/bin/xpoll --help >/dev/null
