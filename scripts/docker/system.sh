#!/usr/bin/env bash
# Dockerfile.xpu, first step: what the system lacks, and a user without rights. Argument: cpu or xpu.
set -euo pipefail
device=$1
export DEBIAN_FRONTEND=noninteractive
# vLLM on a CPU loads libgomp and libnuma; its kernels for GPUs come with the base image.
packages=(ca-certificates)
if [ "$device" = cpu ]; then
    packages+=(libgomp1 libnuma1)
else
    packages+=(python3-venv)
fi
apt-get update
apt-get install -y --no-install-recommends "${packages[@]}"
rm -rf /var/lib/apt/lists/*
# The group is made where the base has none, so that --group-add finds a name; its number is the host's in the end.
getent group render >/dev/null || groupadd --system render
useradd --create-home --uid 10001 --groups render,video xpoll
mkdir -p /data
chown xpoll /data
