#!/usr/bin/env bash
# An xpoll run on machines that are reached by ssh, without any batch system.
#
#   scripts/cluster/ssh.sh "node1 node2" run job.toml
#
# The first machine is where xpoll itself runs and should be this one. All need the same checkout with its .venv at the
# same path (XPOLL_ROOT, by default this folder), see the run folder and have the same ~/.ray/auth_token. Ctrl-C stops the
# run and ends Ray everywhere.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo 'usage: scripts/cluster/ssh.sh "HOST HOST..." run job.toml' >&2
    exit 2
fi
XPOLL_ROOT=${XPOLL_ROOT:-$PWD}
export XPOLL_ROOT
# shellcheck source=scripts/cluster/until_done.sh
source "$XPOLL_ROOT/scripts/cluster/until_done.sh"
read -ra nodes <<<"$1"
shift

# With -tt what was started ends when the connection does. Only called in the background, where exec lets a signal reach
# ssh and not a shell around it.
on() {
    local variables="RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0 RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token"
    variables+=" XPOLL_SYSFS=${XPOLL_SYSFS:-/sys}"
    # shellcheck disable=SC2086 # a command with its options
    exec ${XPOLL_SSH:-ssh -tt -o BatchMode=yes} "$1" "cd $(printf %q "$PWD") && env $variables $(printf '%q ' "${@:2}")" </dev/null
}

again() {
    echo "xpoll: stopped -> the same command resumes"
}

end_ray() {
    jobs -p | xargs --no-run-if-empty kill 2>/dev/null || true
}
trap end_ray EXIT
start_ray "${nodes[@]}"
until_done again "$@" --address "$address"
