#!/usr/bin/env bash
# An xpoll run as a Slurm job that submits itself again until the run is done, on one node or on several.
#
#   sbatch -p pvc scripts/cluster/slurm.sh run job.toml
#   sbatch -p pvc --nodes=4 scripts/cluster/slurm.sh run job.toml
#
# Submit from the checkout, on a file system that all nodes share. Before the time limit Slurm sends USR1 to this
# script; xpoll then finishes what is in flight, and the next job resumes there. What is given to sbatch beside
# the script (partition, account, nodes) is kept for the next job in SBATCH_AGAIN:
#
#   export SBATCH_AGAIN="-p pvc --nodes=4"; sbatch $SBATCH_AGAIN scripts/cluster/slurm.sh run job.toml
#SBATCH --job-name=xpoll
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=02:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --output=xpoll-slurm.log
set -euo pipefail
XPOLL_ROOT=${XPOLL_ROOT:-${SLURM_SUBMIT_DIR:-$PWD}}
export XPOLL_ROOT
cd "${SLURM_SUBMIT_DIR:-$PWD}"
# shellcheck source=scripts/cluster/until_done.sh
source "$XPOLL_ROOT/scripts/cluster/until_done.sh"

# Only called in the background, where exec lets a signal reach what was started and not a shell around it.
on() {
    exec srun --nodes=1 --ntasks=1 --overlap --nodelist="$1" "${@:2}"
}

again() {
    local options
    read -ra options <<<"${SBATCH_AGAIN:-}"
    # Without --export=ALL a site may drop XPOLL_JOB_NUMBER, and with it the bound on the number of jobs.
    sbatch --export=ALL "${options[@]}" "$XPOLL_ROOT/scripts/cluster/slurm.sh" "${arguments[@]}"
}

arguments=("$@")
if [ "${SLURM_JOB_NUM_NODES:-1}" -gt 1 ]; then
    mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    start_ray "${nodes[@]}"
    set -- "$@" --address "$address"
fi
code=0
until_done again "$@" || code=$?
jobs -p | xargs --no-run-if-empty kill 2>/dev/null || true
exit "$code"
