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


# Follows a parent's descendants from before they are there, so that one that is killed while it starts
# them leaves none. Sessions and groups do not hold them: Ray starts each of its processes in its own.
# A process whose own parent has ended still counts, because it was held when it had one.
_FOLLOW_AND_KILL = """
import os, select, signal, sys, time
parent, often_s, seldom_s, start_s = int(sys.argv[1]), 0.25, 2.0, 30.0
held = {}

def hold():
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", errors="replace") as file:
                children.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
        except (OSError, IndexError, ValueError):
            pass
    todo = [parent, *held]
    while todo:
        for pid in children.get(todo.pop(), ()):
            if pid not in held and pid != os.getpid():
                try:
                    held[pid] = os.pidfd_open(pid)
                except OSError:
                    continue
                todo.append(pid)

def drop_ended():
    ended = select.poll()
    pids = {fd: pid for pid, fd in held.items()}
    for fd in pids:
        ended.register(fd, select.POLLIN)
    for fd, _ in ended.poll(0):
        os.close(held.pop(pids[fd]))

begun_s = time.monotonic()
try:
    alive = select.poll()
    alive.register(os.pidfd_open(parent), select.POLLIN)
    while not alive.poll(1000 * (often_s if time.monotonic() - begun_s < start_s else seldom_s)):
        hold()
        drop_ended()
except ProcessLookupError:
    pass
for _ in range(10):
    hold()
    for fd in held.values():
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            pass
    time.sleep(0.1)
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


def guard_descendants() -> None:
    """Ties every later descendant of this process to its life, also those in sessions of their own.

    Call it before the first of them starts. One that starts less than a quarter of a second before this
    process is killed can be missed.
    """
    _start(_FOLLOW_AND_KILL, os.getpid())


def _start_guardian(group: int, pids: Iterable[int]) -> None:
    _start(_WAIT_AND_KILL, os.getpid(), group, *pids)


def _start(program: str, *arguments: int) -> None:
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
