# Functions for batch scripts; sourced by slurm.sh, aurora.pbs and ssh.sh. Paths are those of a checkout with .venv.
# shellcheck shell=bash

root=${XPOLL_ROOT:-$PWD}
xpoll=${XPOLL_COMMAND:-$root/.venv/bin/xpoll}

# until_done AGAIN ARGUMENTS...: runs xpoll with the arguments and, if it was stopped by the batch system, calls AGAIN.
# TERM and USR1 (which comes some minutes before the time limit) make xpoll finish what is in flight and stop. A mistake
# of the user's (exit code 2) or a crash is not repeated; where what it asks is away (75), the next job waits
# XPOLL_AWAY_S seconds. XPOLL_MAX_JOBS bounds how many jobs one run may become.
until_done() {
    local again=$1 code=0 pid
    shift
    "$xpoll" "$@" &
    pid=$!
    # xpoll takes TERM as it takes Ctrl-C; INT is ignored in what a script starts in the background.
    trap 'echo "xpoll: the batch system ends this job; finishing what is in flight"; kill -TERM "$pid" || true' USR1 TERM
    wait "$pid" || code=$?
    while kill -0 "$pid" 2>/dev/null; do # a signal ends `wait`, not xpoll
        code=0
        wait "$pid" || code=$?
    done
    trap - USR1 TERM
    if [ "$code" -eq 75 ]; then
        sleep "${XPOLL_AWAY_S:-60}"
    elif [ "$code" -ne 130 ]; then
        echo "xpoll: ended with exit code $code; not submitted again"
        return "$code"
    fi
    local number=${XPOLL_JOB_NUMBER:-1} most=${XPOLL_MAX_JOBS:-50}
    if [ "$number" -ge "$most" ]; then
        echo "xpoll: stopped in job $number of at most XPOLL_MAX_JOBS=$most -> submit it again to resume" >&2
        return "$code"
    fi
    export XPOLL_JOB_NUMBER=$((number + 1))
    echo "xpoll: stopped in job $number; submitting job $XPOLL_JOB_NUMBER, which resumes here"
    "$again" "$@"
}

# start_ray HEAD NODE...: Ray on all nodes through `on NODE COMMAND...`, which the caller defines and which may block.
# Sets `address`. GPUs are not declared: xpoll looks on each node itself, and Ray counts Intel's only through dpctl.
start_ray() {
    local head=$1 port=${XPOLL_RAY_PORT:-6379} node number=$#
    address=$head:$port
    # Ray asks for its token wherever ~/.ray/auth_token is there for the head, and sends it only where it is told to.
    unset ONEAPI_DEVICE_SELECTOR # Ray reads it in one spelling only, and what it starts would count by it
    export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
    (umask 077 && "$root/.venv/bin/ray" get-auth-token --generate >/dev/null) || echo "xpoll: this Ray has no tokens: continuing without" >&2
    on "$head" "$root/.venv/bin/ray" start --head --port "$port" --include-dashboard=false --block &
    sleep "${XPOLL_RAY_HEAD_S:-10}"
    shift
    for node in "$@"; do
        on "$node" "$root/.venv/bin/ray" start --address "$address" --block &
    done
    wait_for_nodes "$number"
}

# wait_for_nodes NUMBER: returns when so many nodes have joined, or fails after two minutes.
wait_for_nodes() {
    "$root/.venv/bin/python" -P - "$address" "$1" <<'PYTHON'
import sys
import time

import ray

address, wanted = sys.argv[1], int(sys.argv[2])
ray.init(address=address, logging_level="error", log_to_driver=False)
for _ in range(120):
    alive = sum(node["Alive"] for node in ray.nodes())
    if alive >= wanted:
        raise SystemExit(0)
    time.sleep(1)
raise SystemExit(f"xpoll: {alive} of {wanted} nodes have joined {address} after 120 s -> ray status")
PYTHON
}
