"""A real `xpoll poll` on a simulated engine, in a subprocess that can be watched and killed.

Writes texts.csv, job.toml and run/ into its folder.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from xpoll.benchmarks.runner.records import Parameters
from xpoll.core.errors import EngineError
from xpoll.core.files import write_text
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import count_answers

LABELS = ["bad", "good", "mixed"]
TIMEOUT_S = 300.0
GONE_WITHIN_S = 30.0

JOB = """
[job]
run_folder = "run"
[documents]
path = "texts.csv"
[task]
labels = {labels}
[panel]
personas = ["annotator", "retail_investor"]
samples = {samples}
stop = "{stop}"
[engine]
backend = "simulated"
device = "cpu"
replicas = {replicas}
rows_per_part = {rows_per_part}
max_in_flight = {max_in_flight}
hang_timeout_s = {hang_timeout_s}
{address}
[engine.simulated]
time_scale = {time_scale}
"""


class PollProcess:
    """One poll, which can be restarted after a kill.

    Attributes:
        folder: Its run folder.

    Args:
        folder: Folder for the job and the run; created here.
        stop: `panel.stop`.
        address: Address of the Ray to use; None lets xpoll start a local one.
        parameters: Of the suite.
        recorded: completions/ of an earlier run that answers in place of the simulated engine.
        options: Lines of `[engine.simulated]`, or the tables that stand in place of `[engine]` and it.
    """

    def __init__(
        self,
        folder: Path,
        stop: str,
        address: str | None,
        parameters: Parameters,
        *,
        recorded: Path | None = None,
        options: str = "",
    ) -> None:
        self._cwd, self._own_ray = folder, address is None
        self._timeout_s: float = parameters.get("timeout_s", TIMEOUT_S)
        self.folder = RunFolder(folder / "run")
        folder.mkdir()
        texts = "".join(f"sentence {i} of those that are asked about\n" for i in range(parameters["documents"]))
        write_text(folder / "texts.csv", "text\n" + texts)
        names = ("samples", "replicas", "rows_per_part", "max_in_flight", "time_scale")
        job = JOB.format(
            labels=LABELS,
            stop=stop,
            address=f'address = "{address}"' if address else "",
            hang_timeout_s=parameters.get("hang_timeout_s", 600),
            **{name: parameters[name] for name in names},
        )
        if recorded is not None:
            job = job.replace('backend = "simulated"', 'backend = "replay"').partition("[engine.simulated]")[0]
            job += f'[engine.replay]\npath = "{recorded}"\n'
        elif "[engine" in options:
            job = job.partition("[engine]")[0]
        write_text(folder / "job.toml", f"{job}{options}\n")

    def start(self) -> None:
        """Starts the poll, or resumes it after a kill."""
        command = [sys.executable, "-P", "-m", "xpoll", "poll", "job.toml"]
        with (self._cwd / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self._cwd, stdout=output, stderr=output, start_new_session=self._own_ray
            )
        self._started_s = time.monotonic()

    @property
    def pid(self) -> int:
        """Of the driver process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the driver process runs."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Sends the driver a signal; none where it has ended."""
        self._process.send_signal(number)

    @property
    def said(self) -> str:
        """What all its sessions have printed."""
        return (self._cwd / "output.txt").read_text(errors="replace")

    @property
    def is_sealing(self) -> bool:
        """Whether a part is being written, or exists beside its journal."""
        parts = {path.stem.rpartition("-")[2] for path in self.folder.completions.glob("part-*.parquet")}
        journals = {path.stem.rpartition("-")[2] for path in self.folder.completions.glob("journal-*.arrows")}
        return bool(parts & journals) or any(self.folder.completions.glob(".part-*"))

    def wait_until(self, moment: str, draw: random.Random, *, total: int, usual_start_s: float) -> float:
        """Waits for a random moment of a run, or for its end; returns the seconds since the start.

        Args:
            moment: "start": up to the first answers. "answering": at some number of answers on disk.
                "sealing": while a part is written, after some number of answers. "end": all answers are on disk.
            draw: Random generator.
            total: Answers of the complete run.
            usual_start_s: Usual time to the first answers, in seconds.
        """
        if moment == "start":
            until_s = draw.uniform(0, usual_start_s)
            while self.is_running and time.monotonic() - self._started_s < until_s:
                time.sleep(0.005)
            return time.monotonic() - self._started_s
        first = count_answers(self.folder.completions) + 1
        answers = total if moment == "end" else draw.randint(min(first, total), total)
        while self.is_running and count_answers(self.folder.completions) < answers:
            time.sleep(0.01)
        if moment == "sealing":
            while self.is_running and not self.is_sealing:
                time.sleep(0.0002)
        return time.monotonic() - self._started_s

    def workers(self) -> list[psutil.Process]:
        """The worker processes of this run; with a shared Ray, those of all its runs."""
        return workers_below(self.pid if self._own_ray else os.getpid())

    def remains(self) -> list[psutil.Process]:
        """What is left of its ended sessions, also where the driver that started it is gone."""
        return processes_in(self._cwd) + ([] if self._own_ray else self.workers())

    def kill(self, victim: str) -> list[psutil.Process]:
        """Kills the driver, one worker, or both; returns every process that has to end as a consequence.

        Args:
            victim: "driver", "worker" or "both".
        """
        driver = psutil.Process(self.pid)
        if victim != "worker":
            self.send(signal.SIGSTOP)  # listing takes long enough to miss the point
        workers = self.workers()
        if victim == "worker":
            killed, doomed = workers[:1], with_children(workers[:1])
        else:
            killed = [*workers[:1], driver] if victim == "both" else [driver]
            doomed = with_children([driver, *workers])
        for process in killed:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:  # it ended since it was listed
                continue
        if driver in killed:
            self._exit_code(TIMEOUT_S)
        return doomed

    def kill_named(self, name: str) -> None:
        """Kills a process of that name below the driver, e.g. "raylet"; none where there is none."""
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.pid).children(recursive=True):
                if process.name() == name:
                    process.kill()

    def send_group(self, number: signal.Signals) -> None:
        """Sends a signal to the driver's group and to all that it started, as batch systems do."""
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            below = psutil.Process(self.pid).children(recursive=True)
            os.killpg(self.pid, number)
            for process in below:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def fill_disk(self, size: int) -> None:
        """From now on the driver cannot write beyond `size` bytes of any file, as on a disk that is full."""
        with suppress(psutil.NoSuchProcess):
            psutil.Process(self.pid).rlimit(psutil.RLIMIT_FSIZE, (size, size))

    def wait(self) -> int:
        """Waits for the end of the driver; returns its exit code.

        Raises:
            EngineError: it took longer than `timeout_s` of the suite, or else TIMEOUT_S.
        """
        code = self._exit_code(self._timeout_s)
        if code is None:
            self.kill("driver")
            raise EngineError(f"the poll in {self._cwd} was not done within {self._timeout_s:g} s")
        return code

    def _exit_code(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def finish(self) -> None:
        """Waits for the end of the poll.

        Raises:
            EngineError: the poll failed, or took too long.
        """
        if code := self.wait():
            lines = self.said.strip().splitlines()
            raise EngineError(f"the poll in {self._cwd} ended with exit code {code}: {lines[-1] if lines else ''}")


def processes_in(folder: Path) -> list[psutil.Process]:
    """Processes whose current folder it is: those of xpoll and of its Ray keep the folder they were started in."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder.resolve()):
                found.append(process)
    return found


def workers_below(pid: int) -> list[psutil.Process]:
    """Ray's processes below `pid` that hold a worker of xpoll; empty if the process has ended."""
    try:
        return [process for process in psutil.Process(pid).children(recursive=True) if is_worker(process)]
    except psutil.NoSuchProcess:
        return []


def is_worker(process: psutil.Process) -> bool:
    """Whether a process of Ray holds a worker of xpoll."""
    try:
        return "ray::Worker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def with_children(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The processes and all their descendants."""
    found: dict[int, psutil.Process] = {}
    for process in processes:
        try:
            found |= {each.pid: each for each in [process, *process.children(recursive=True)]}
        except psutil.NoSuchProcess:
            continue
    return list(found.values())


def left_of(doomed: list[psutil.Process]) -> list[psutil.Process]:
    """The processes that still run after GONE_WITHIN_S."""
    return psutil.wait_procs(doomed, timeout=GONE_WITHIN_S)[1]  # type: ignore[no-any-return]
