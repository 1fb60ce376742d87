#!/usr/bin/env bash
# Dockerfile.xpu: the environment of the engine, .venv. Argument: cpu or xpu.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$1" = cpu ]; then
    PIP_NO_CACHE_DIR=1 scripts/setup.sh packages
    exit
fi
# vLLM, torch and the kernels are those of the base image; only what xpoll needs beside them is added.
python3 -m venv --system-site-packages .venv
# Where the base's python3 is that of an environment (/opt/venv in vLLM's images), one made from it sees the packages of
# the system and not those of that environment, so its folders are named.
own=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python3 >"$own/base_image.pth" - <<'PYTHON'
import site

for folder in site.getsitepackages():
    print(f"import site; site.addsitedir({folder!r})")
PYTHON
kept='^(torch|triton|triton-xpu|vllm|vllm[-_]xpu[-_]kernels|intel[-_]extension[-_]for[-_]pytorch|numpy|transformers)=='
.venv/bin/python -m pip list --format=freeze | grep -iE "$kept" >.venv/kept.txt || true
.venv/bin/python -m pip install --no-cache-dir --constraint .venv/kept.txt -r requirements/xpu.txt
.venv/bin/python - <<'PYTHON'
import sys
from importlib.util import find_spec

KERNELS = ("vllm_xpu_kernels", "intel_extension_for_pytorch")
missing = [name for name in ("torch", "vllm") if find_spec(name) is None]
if not any(map(find_spec, KERNELS)):
    missing.append(" or ".join(KERNELS))
if missing:
    raise SystemExit(f"engine.sh: the base image has no {', '.join(missing)} that .venv sees; it looked in {sys.path}")
PYTHON
