"""`xpoll poll` as a process of its own, for tests that do something to it or to what it has started."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.simulated_job import write_simulated_job
from xpoll.engine.journal.answers import count_answers


class Poll:
    """A poll of a simulated job in `folder`, in a session of its own; a context that leaves no process behind."""

    def __init__(
        self,
        folder: Path,
        *,
        documents: int = 1500,
        time_scale: float = 2.0,
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        terminal: int | None = None,
    ) -> None:
        write_simulated_job(folder, documents=documents, max_in_flight=32, time_scale=time_scale)
        self.folder = folder
        self.said = folder / "said"
        command = [sys.executable, "-P", "-m", "xpoll", "poll", "job.toml"]
        for setting in settings:
            command += ["--set", setting]
        with self.said.open("wb") as file:
            self.driver = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=file if terminal is None else terminal,
                stderr=file if terminal is None else terminal,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def __enter__(self) -> "Poll":
        return self

    def __exit__(self, *_: object) -> None:
        if self.driver.poll() is not None:
            return
        processes = self.processes()
        self.driver.kill()
        self.driver.wait(timeout=30)
        for left in psutil.wait_procs(processes, timeout=10)[1]:  # its guardian was to end them
            left.kill()

    def processes(self) -> list[psutil.Process]:
        """All processes that the driver has started, and theirs."""
        return psutil.Process(self.driver.pid).children(recursive=True)

    def named(self, name: str) -> psutil.Process:
        """The process of that name, e.g. "raylet"."""
        return next(process for process in self.processes() if process.name() == name)

    def answers(self) -> int:
        """Answers on disk."""
        return count_answers(self.folder / "run/completions")

    def wait_for_answers(self, number: int, *, within_s: float = 120) -> None:
        until_s = time.monotonic() + within_s
        while self.answers() < number:
            assert self.driver.poll() is None, self.said.read_text()
            assert time.monotonic() < until_s, self.said.read_text()
            time.sleep(0.05)

    def end(self, *, within_s: float) -> tuple[int, str]:
        """Exit code and what was said, once it has ended."""
        code = self.driver.wait(timeout=within_s)
        return code, self.said.read_text()
