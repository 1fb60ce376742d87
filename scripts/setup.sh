#!/usr/bin/env bash
# Makes .venv with everything a run needs on a CPU; called by make. With the argument `test`, also what tests need;
# with `packages`, all but xpoll itself; with `ipex` it makes .venv-ipex instead: IPEX and optimum-intel, which need
# another torch.
#
# PYTHON                  interpreter to use, 3.11 or newer (default: python3)
# XPOLL_TORCH_INDEX_URL   package index to take torch from, e.g. https://download.pytorch.org/whl/cpu
#                         (without it, pip's own index; on PyPI that is the CUDA build, which works but is 4 GB larger)
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
env=.venv requirements=requirements/cpu.txt
if [ "${1:-}" = ipex ]; then
    env=.venv-ipex requirements=requirements/ipex-cpu.txt
fi
pip="$env/bin/python -m pip --disable-pip-version-check"

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "setup: $python is not Python 3.11 or newer -> PYTHON=python3.11 make" >&2
    exit 2
fi

# Runs a command with its output in $env/setup.log, says every 20 s how far it is, and shows the end
# of that log if it fails.
step() {
    local what=$1 start=$SECONDS
    shift
    echo "setup: $what ..."
    "$@" >>$env/setup.log 2>&1 &
    local command=$!
    while kill -0 "$command" 2>/dev/null; do
        sleep 1
        if (((SECONDS - start) % 20 == 19)); then
            echo "setup: $what: $((SECONDS - start)) s, $(du -sm $env | cut -f1) MB so far"
        fi
    done
    if ! wait "$command"; then
        tail -n 15 $env/setup.log >&2
        echo "setup: $what failed; the whole output is in $env/setup.log -> mend it and run make again" >&2
        exit 2
    fi
    echo "setup: $what: done after $((SECONDS - start)) s"
}

torch=$(grep '^torch==' $requirements)
# An index of torch builds need not hold torch's dependencies; they are all in the requirements.
index=(${XPOLL_TORCH_INDEX_URL:+--no-deps --index-url "$XPOLL_TORCH_INDEX_URL"})

if [ ! -x $env/bin/python ]; then
    if ! "$python" -m venv $env; then
        echo "setup: $python cannot make a virtual environment -> install its venv module (Debian: apt install python3-venv)" >&2
        exit 2
    fi
fi
if ! $env/bin/python -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null; then
    step "installing $torch" $pip install "${index[@]}" --constraint $requirements "$torch"
fi
step "installing $requirements" $pip install --no-deps -r $requirements
if [ "${1:-}" = test ]; then
    step "installing requirements/test.txt" $pip install --no-deps -r requirements/test.txt
fi
if [ "${1:-}" = packages ]; then
    exit # an image's layer of packages, which stays the same when the code changes
fi
# In .venv-ipex too: its steps are modules of xpoll, which need none of xpoll's requirements.
step "installing xpoll" $pip install --no-deps --no-build-isolation --editable .
