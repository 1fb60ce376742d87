"""Ends child processes when their parent ends, however it ends.

vLLM's engine core and workers are separate processes and outlive a parent that is killed: they
keep their memory and their device. Ray's agents outlive a killed driver too. So a small process
outside of the group waits until the parent has ended and then kills those that it left behind.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

TO_THE_DRIVER = frozenset({signal.SIGTERM, signal.SIGHUP})
"""Signals that end a run: batch systems, systemd and terminals send them to all its processes; the driver acts."""

# A guardian outlives what it guards, also where all processes of a run get a signal.
_DEAF = """
import signal
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
"""

# poll() on a pidfd returns when that process has ended, by whatever means. No pipe is used, because
# children would inherit its writing end and keep it open. Processes are held by pidfd as well, so
# that a process that has been given the same number since then is never killed.
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


# Follows a parent's descendants from before they start, so that a parent that is killed while it starts
# them leaves none behind. Sessions and groups would not do: Ray starts each of its processes in its own.
# A process whose own parent has ended still counts, because it was found while it had one.
_FOLLOW_AND_KILL = """
import os, select, shutil, signal, sys, time
parent, often_s, seldom_s, start_s = int(sys.argv[1]), 0.25, 2.0, 30.0
spared = {int(pid) for pid in sys.argv[2].split(",") if pid}
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
            if pid not in held and pid not in spared and pid != os.getpid():
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
for folder in sys.argv[3:]:
    shutil.rmtree(folder, ignore_errors=True)
"""


def guard_children() -> None:
    """Kills every later child of this process when it ends; call once, before the first child starts.

    The process leaves its process group, so a Ctrl-C in the terminal no longer reaches it: the
    driver gets it, drains, and ends its workers.
    """
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    _start_guardian(os.getpgid(0), ())


def guard_processes(pids: Iterable[int]) -> None:
    """Kills these running processes when this one ends, and no others of its group.

    Args:
        pids: Process ids; one that has ended already is left out.
    """
    _start_guardian(0, pids)


def guard_descendants(*, remove: Path | None = None) -> subprocess.Popen[bytes]:
    """Kills every later descendant of this process when it ends, also those in sessions of their own.

    Call it before the first of them starts; children that are there already are somebody else's and are left alone.
    One that starts less than 0.25 s before this process is killed can be missed (2 s, once this process is 30 s into
    its work).

    Args:
        remove: A folder of theirs, to be removed once they are gone.

    Returns:
        The process that waits for that; it can be killed where nothing is left to guard.
    """
    spared = ",".join(str(child.pid) for child in psutil.Process().children())
    return _start(_FOLLOW_AND_KILL, os.getpid(), spared, *([remove] if remove else []))


@contextmanager
def signals_blocked() -> Iterator[None]:
    """What this thread starts within the block never gets TO_THE_DRIVER, nor do its own children.

    A signal that comes meanwhile is delivered after the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_THE_DRIVER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_let_through() -> Iterator[None]:
    """Undoes `signals_blocked` of a parent for what this thread starts within the block, so that it can be ended."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_THE_DRIVER)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_guardian(group: int, pids: Iterable[int]) -> None:
    _start(_WAIT_AND_KILL, os.getpid(), group, *pids)


def _start(program: str, *arguments: int | str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _DEAF + program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
