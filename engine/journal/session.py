"""engine.json: the engine's backend, model and devices, how many answers were on disk, and figures of each session.

`answers` counts those on disk when the file was written, of all sessions; `settled_documents` is there once every
document is settled. `problems_of` holds the answers that are there against both.

A session has startup_s (until the first device was ready), wall_s (from then on), answers, and
devices_ready_s (when each device was ready, on the clock of wall_s).
"""

import time
from collections.abc import Mapping
from typing import Any

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import RunFolderError
from xpoll.core.files import read_json, write_json
from xpoll.core.formatting import counted, number
from xpoll.core.run_folder import RunFolder
from xpoll.engine.devices.find import Device
from xpoll.engine.journal.answers import problem_of, take_inventory
from xpoll.engine.journal.sealed import reason_of

WRITTEN_EVERY_S = 5.0


def read_engine(folder: RunFolder) -> dict[str, Any]:
    """What engine.json of a folder says; empty if it is missing.

    Raises:
        RunFolderError: it is damaged.
    """
    try:
        held = read_json(folder.engine) if folder.engine.exists() else {}
        if isinstance(held, dict):
            return held
        why = "it holds no table"
    except (OSError, ValueError) as error:
        why = reason_of(error)
    raise RunFolderError(
        f"{folder.engine} cannot be read ({why}); it holds counts and times, no answers",
        mend=f"delete it; then {folder.asks_again}",
    )


def mark_settled(folder: RunFolder, documents: int, answers: int, config: EngineConfig) -> None:
    """Records in engine.json that all `documents` documents are settled by `answers` answers.

    Args:
        folder: The run folder.
        documents: Number of documents.
        answers: Number of answers on disk.
        config: The engine section, for a file that has to be made anew.
    """
    held = read_engine(folder) or {**_about(config, []), "sessions": []}
    write_json(folder.engine, {**held, "answers": answers, "settled_documents": documents})


def is_settled(folder: RunFolder, documents: int) -> bool:
    """Whether all `documents` documents are settled, and all the answers that settled them are there."""
    return read_engine(folder).get("settled_documents") == documents and not problems_of(folder)


def problems_of(folder: RunFolder) -> list[RunFolderError]:
    """What keeps a folder from being read: damaged files of answers, or a number of answers that was not counted."""
    engine = read_engine(folder)  # before the answers, of which a poll that is running has more every moment
    found = take_inventory(folder.completions)
    if found.damaged:
        return [problem_of(folder.completions, file) for file in found.damaged]
    wanted = max(counted_answers(engine), engine.get("settled_documents", 0))
    line = f"{folder.completions} holds {counted(found.rows, 'answer')} where {number(wanted)} were counted"
    if found.rows < wanted:
        return [RunFolderError(line, mend=folder.asks_again)]
    if found.rows > wanted and "answers" in engine and "settled_documents" in engine:
        return [RunFolderError(line, mend=f"xpoll check {folder.path}")]
    return []


def counted_answers(engine: Mapping[str, Any]) -> int:
    """Answers on disk when engine.json was written, as it says; earlier versions wrote those of each session only."""
    return int(engine.get("answers", sum(session["answers"] for session in engine.get("sessions", []))))


def lost_answers(folder: RunFolder, answers: int) -> int:
    """How many of the answers that were counted are not among the `answers` on disk."""
    return max(0, counted_answers(read_engine(folder)) - answers)


def require_whole(folder: RunFolder) -> None:
    """Refuses a folder whose answers are not all there.

    Raises:
        RunFolderError: names the file, and the command that mends it.
    """
    for problem in problems_of(folder):
        raise problem


class Session:
    """Figures of one session of the engine; those of earlier sessions stay in the file.

    Attributes:
        answers: How many answers this session made durable.

    Args:
        folder: The run folder.
        config: The engine section.
        devices: The devices of the session, at least one.
        answers_before: Answers on disk when it begins.
    """

    def __init__(self, folder: RunFolder, config: EngineConfig, devices: list[Device], *, answers_before: int) -> None:
        self.answers = 0
        self._folder, self._config, self._answers_before = folder, config, answers_before
        self._about = _about(config, devices)
        self._earlier = read_engine(folder).get("sessions", [])
        self._begun_s = self._ready_s = time.monotonic()
        self._written_s = 0.0
        self._devices_ready_s: Mapping[int, float] = {}

    def started(self, ready_s: Mapping[int, float]) -> None:
        """Records that the first worker is ready.

        Args:
            ready_s: When each device was ready, by number, on the monotonic clock; read again at each write.
        """
        self._ready_s, self._devices_ready_s = time.monotonic(), ready_s
        self._write()

    def counted(self, answers: int) -> None:
        """Adds durable answers; writes every few seconds, so that the file is current if the process is killed."""
        self.answers += answers
        if time.monotonic() - self._written_s >= WRITTEN_EVERY_S:
            self._write()

    def ended(self, documents: int) -> None:
        """Records that all `documents` documents are settled."""
        self._write()
        mark_settled(self._folder, documents, self._answers_before + self.answers, self._config)

    def stopped(self) -> None:
        """Records the end of a session with documents left; without any worker that was ready, none is recorded."""
        if self._devices_ready_s:
            self._write()

    def _write(self) -> None:
        now_s = self._written_s = time.monotonic()
        session = {
            "startup_s": round(self._ready_s - self._begun_s, 3),
            "wall_s": round(now_s - self._ready_s, 3),
            "answers": self.answers,
            "devices_ready_s": [
                round(self._devices_ready_s[number] - self._ready_s, 3) for number in sorted(self._devices_ready_s)
            ],
        }
        answers = self._answers_before + self.answers
        write_json(self._folder.engine, {**self._about, "answers": answers, "sessions": [*self._earlier, session]})


def _about(config: EngineConfig, devices: list[Device]) -> dict[str, Any]:
    return {
        "backend": config.backend,
        "model": config.model,
        "device": devices[0].kind if devices else config.device,
        "device_name": devices[0].name if devices else None,
        "replicas": len(devices) or None,
    }
