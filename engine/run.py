"""Prompts to completions, as one function: devices, workers, dispatch, journal.

Reads nothing but the prompts it is given. Writes completions/ and engine.json into the run folder.
Every prompt ends there exactly once, as a completion or as an error row; prompts whose answers are
there already are not asked.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import Engine
from core.files import read_json, write_json
from core.progress import Progress
from core.records import Prompt
from core.run_folder import RunFolder
from engine.backends import check_backend
from engine.cluster import end_worker, ray_session, start_worker, wait_until_started
from engine.devices import Device, find_devices
from engine.dispatch import dispatch
from engine.journal import Journal

STATE_EVERY_S = 5.0


def answer_prompts(prompts: Iterable[Prompt], *, total: int, config: Engine, folder: RunFolder) -> int:
    """Asks every prompt that has no answer yet; returns how many it asked.

    Args:
        prompts: All prompts of the run, in the order they should be asked.
        total: How many these are, answered or not.
        config: The engine section of the job.
        folder: Where answers are kept.

    Raises:
        EngineError: the engine does not start, or no device is left.
        RunFolderError: answers can no longer be written.
    """
    check_backend(config.backend)
    with Journal(folder.completions) as journal:
        before = len(journal.done)
        if before >= total:
            return 0
        devices = find_devices(config.device, config.replicas)
        with ray_session(devices):
            session = Session(folder.engine, config, devices)
            workers = [start_worker(config, device, folder.log) for device in devices]
            try:
                wait_until_started(workers, config, devices)
                session.started()
                _ask(_unanswered(prompts, journal), workers, journal, session, total, config, folder.log)
            finally:
                for worker in workers:
                    end_worker(worker)
        return len(journal.done) - before


def _ask(
    prompts: Iterator[Prompt],
    workers: list[Any],
    journal: Journal,
    session: "Session",
    total: int,
    config: Engine,
    log: Path,
) -> None:
    def restart(number: int) -> Any:
        end_worker(workers[number])
        device = session.devices[number]
        workers[number] = start_worker(config, device, log)
        wait_until_started([workers[number]], config, [device])
        return workers[number]

    with Progress("polling", total=total, unit="answers", done=len(journal.done)) as progress:
        for answers in dispatch(
            prompts,
            workers,
            journal,
            max_in_flight=config.max_in_flight,
            max_restarts=config.max_restarts,
            restart=restart,
        ):
            session.counted(len(answers))
            progress.add(len(answers))
    session.ended()


def _unanswered(prompts: Iterable[Prompt], journal: Journal) -> Iterator[Prompt]:
    return (prompt for prompt in prompts if prompt.key not in journal.done)


@dataclass
class Session:
    """What one engine start did; kept in engine.json beside those of earlier, interrupted starts."""

    path: Path
    config: Engine
    devices: list[Device]

    def __post_init__(self) -> None:
        self._earlier = read_json(self.path)["sessions"] if self.path.exists() else []
        self._begun_s = time.monotonic()
        self._ready_s = self._written_s = 0.0
        self._answers = 0

    def started(self) -> None:
        self._ready_s = time.monotonic()
        self._write()

    def counted(self, answers: int) -> None:
        self._answers += answers
        if time.monotonic() - self._written_s >= STATE_EVERY_S:
            self._write()

    def ended(self) -> None:
        self._write()

    def _write(self) -> None:
        now_s = self._written_s = time.monotonic()
        session = {
            "startup_s": round(self._ready_s - self._begun_s, 3),
            "wall_s": round(now_s - self._ready_s, 3),
            "answers": self._answers,
        }
        about = {
            "backend": self.config.backend,
            "model": self.config.model,
            "device": self.devices[0].kind,
            "device_name": self.devices[0].name,
            "replicas": len(self.devices),
        }
        write_json(self.path, {**about, "sessions": [*self._earlier, session]})
