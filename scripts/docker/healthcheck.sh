#!/usr/bin/env bash
# Healthy unless `xpoll doctor` says that nothing can run (exit code 2); warnings are no reason to end a container.
set -u
"$(dirname "$0")/../../.venv/bin/xpoll" doctor --json >/dev/null
[ $? -lt 2 ]
