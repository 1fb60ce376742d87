"""Processes end with the one that started them, however that one ends.

vLLM's engine core and workers are processes of their own and outlive a parent that is killed: they
keep their memory and their device. Ray's agents outlive a killed driver too. So a small process
outside of the group waits for the parent's end and then kills what was left to it.
"""

import os
import subprocess
import sys
from collections.abc import Iterable

# poll() on a pidfd returns when that process has ended, by whatever means. No pipe is used, because
# children would inherit its writing end and keep it open. Processes are held by pidfd as well, so
# that a number that was given to another process since then is never killed.
_WAIT_AND_KILL = """
import os, select, signal, sys
parent, group, *others = map(int, sys.argv[1:])
held = []
for pid in others:
    try:
        held.append(os.pidfd_open(pid))
    except ProcessLookupError:
        pass
try:
    poll = select.poll()
    poll.register(os.pidfd_open(parent), select.POLLIN)
    poll.poll()
except ProcessLookupError:
    pass
for fd in held:
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass
if group:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


def guard_children() -> None:
    """Ties every later child of this process to its life; call once, before the first child starts.

    The process leaves its process group, so a Ctrl-C in the terminal no longer reaches it: the
    driver gets it, drains, and ends its workers.
    """
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    _start_guardian(os.getpgid(0), ())


def guard_processes(pids: Iterable[int]) -> None:
    """Ties running processes to the life of this one, and nothing else of its group."""
    _start_guardian(0, pids)


def _start_guardian(group: int, pids: Iterable[int]) -> None:
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WAIT_AND_KILL, *map(str, (os.getpid(), group, *pids))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
