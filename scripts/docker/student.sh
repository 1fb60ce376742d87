#!/usr/bin/env bash
# Dockerfile.xpu: the environment of the student, .venv-ipex: IPEX is bound to torch 2.8, so it has one of its own.
# Arguments: cpu or xpu, and for xpu the package indices of torch and of IPEX.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$1" = cpu ]; then
    # The student trains with the engine's PyTorch on a CPU; `make ipex` is for those who want IPEX there.
    exit
fi
python3 -m venv .venv-ipex
pip=(.venv-ipex/bin/python -m pip install --no-cache-dir)
"${pip[@]}" 'torch==2.8.0+xpu' --index-url "$2"
"${pip[@]}" 'intel-extension-for-pytorch==2.8.10+xpu' --extra-index-url "$3"
"${pip[@]}" 'transformers==4.55.4' 'accelerate==1.15.0' 'pyarrow' 'pydantic>=2'
