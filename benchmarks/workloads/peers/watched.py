"""A peer's process, watched from outside: time to the end and to the first answer, memory of all its processes."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import psutil

MARK = "XPOLL_PEER_RUN"
"""Variable by which processes of a run are known that have left its tree."""
EVERY_S = 0.05
MEMORY_EVERY_S = 0.5
SETTLE_S = 3.0


class Watched(NamedTuple):
    """A run.

    Attributes:
        code: Exit code; None where it was ended because it took too long.
        wall_s: Seconds from the command to its end.
        first_answer_s: Seconds from the command to the first answer on disk; None without any.
        memory_mib: The most that all of its processes held at a time, shared pages divided among them.
        processes_left: Processes that were still there some seconds after its end, and were ended.
    """

    code: int | None
    wall_s: float
    first_answer_s: float | None
    memory_mib: float
    processes_left: int


class PeerProcess:
    """A peer's process and those that it starts.

    Args:
        command: The command.
        answers: File that gets its answers.
        environment: All variables of its environment.
        log: File that gets its output.
    """

    def __init__(self, command: Sequence[str], answers: Path, environment: Mapping[str, str], log: Path) -> None:
        self._mark, self._answers = uuid4().hex, answers
        self._held: dict[int, psutil.Process] = {}
        self._others = set(psutil.pids())
        self._had = _size(answers)
        self._peak_mib = 0.0
        with log.open("ab") as printed:
            self._begun_s = time.perf_counter()
            self._root = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env={**environment, MARK: self._mark},
                cwd=answers.parent,
                start_new_session=True,
            )
        self._held[self._root.pid] = psutil.Process(self._root.pid)

    def watch(self, timeout_s: float, at_each_look: Callable[["PeerProcess"], None] | None = None) -> Watched:
        """Waits for the end, and ends what is left.

        Args:
            timeout_s: After how long it is ended, in seconds.
            at_each_look: Called some twenty times a second while it runs.
        """
        first_s: float | None = None
        look_s = 0.0
        try:
            while self._root.poll() is None and (now_s := self.seconds()) < timeout_s:
                if first_s is None and _size(self._answers) > self._had:
                    first_s = now_s
                if now_s >= look_s:
                    self._measure()
                    look_s = now_s + MEMORY_EVERY_S
                if at_each_look is not None:
                    at_each_look(self)
                time.sleep(EVERY_S)
            wall_s, code = self.seconds(), self._root.poll()
            if first_s is None and _size(self._answers) > self._had:
                first_s = wall_s
        finally:
            left = self.end()
        rounded_s = None if first_s is None else round(first_s, 3)
        return Watched(code, round(wall_s, 3), rounded_s, round(self._peak_mib, 1), left)

    def seconds(self) -> float:
        """Since the command."""
        return time.perf_counter() - self._begun_s

    def kill_driver(self) -> None:
        """Kills the process of the command, and nothing else."""
        self._root.kill()

    def kill_engine(self) -> bool:
        """Kills the process that holds most memory, of those that the command started; False where there is none."""
        below = {pid: _pss_mib(pid) for pid in self._alive() if pid != self._root.pid}
        if not below:
            return False
        with suppress(ProcessLookupError):
            os.kill(max(below, key=lambda pid: below[pid]), signal.SIGKILL)
        return True

    def end(self) -> int:
        """Ends the command and what it started; how many of these were left some seconds after its end."""
        if self._root.poll() is None:
            self._root.kill()
        self._root.wait()
        until_s = time.monotonic() + SETTLE_S
        while (left := self._alive()) and time.monotonic() < until_s:
            time.sleep(EVERY_S)
        for pid in left:
            with suppress(psutil.Error):
                self._held[pid].kill()
        return len(left)

    def _alive(self) -> list[int]:
        """Its processes: those below the command, once seen, and those that bear its mark."""
        for process in psutil.process_iter():
            if process.pid not in self._held and process.pid not in self._others:
                if self._is_ours(process):
                    self._held[process.pid] = process
                else:
                    self._others.add(process.pid)
        return [pid for pid, process in self._held.items() if _runs(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error, OSError):
            if any(parent in self._held and _runs(self._held[parent]) for parent in (process.ppid(),)):
                return True
            return f"{MARK}={self._mark}".encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
        return False

    def _measure(self) -> None:
        self._peak_mib = max(self._peak_mib, sum(map(_pss_mib, self._alive())))


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    return False


def _pss_mib(pid: int) -> float:
    """Proportional set size of a process in MiB; 0 where it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
