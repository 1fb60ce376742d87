"""engine.json: the engine's backend, model and devices, and figures of each session.

A session has startup_s (until the first device was ready), wall_s (from then on), answers, and
devices_ready_s (when each device was ready, on the clock of wall_s).
"""

import time
from collections.abc import Mapping
from pathlib import Path

from xpoll.core.files import read_json, write_json
from xpoll.engine.devices.find import Device

WRITTEN_EVERY_S = 5.0


def mark_settled(path: Path, documents: int) -> None:
    """Records in engine.json that all `documents` documents are settled."""
    write_json(path, {**read_json(path), "settled_documents": documents})


def is_settled(path: Path, documents: int) -> bool:
    """Whether the last session recorded that all `documents` documents are settled."""
    return path.exists() and read_json(path).get("settled_documents") == documents


class Session:
    """Figures of one session of the engine; those of earlier sessions stay in the file.

    Attributes:
        answers: How many answers this session made durable.

    Args:
        path: engine.json.
        backend: Name of the backend.
        model: Name of the model.
        devices: The devices of the session, at least one.
    """

    def __init__(self, path: Path, *, backend: str, model: str, devices: list[Device]) -> None:
        self.answers = 0
        self._path = path
        self._about = {
            "backend": backend,
            "model": model,
            "device": devices[0].kind,
            "device_name": devices[0].name,
            "replicas": len(devices),
        }
        self._earlier = read_json(path)["sessions"] if path.exists() else []
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
        mark_settled(self._path, documents)

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
        write_json(self._path, {**self._about, "sessions": [*self._earlier, session]})
