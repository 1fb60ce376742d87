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
python3 -m pip list --format=freeze | grep -iE '^(torch|triton|triton-xpu|vllm|vllm[-_]xpu[-_]kernels|numpy|transformers)==' >.venv/kept.txt
.venv/bin/python -m pip install --no-cache-dir --constraint .venv/kept.txt -r requirements/xpu.txt
