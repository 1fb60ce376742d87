"""engine.json: what the engine is, and what each of its sessions did.

Of a session: startup_s (until the first device was ready), wall_s (from then on), answers, and
devices_ready_s (when each device was ready, on the clock of wall_s).
"""

import time
from collections.abc import Mapping
from pathlib import Path

from xpoll.core.config import EngineConfig
from xpoll.core.files import read_json, write_json
from xpoll.engine.devices.find import Device

WRITTEN_EVERY_S = 5.0


def mark_settled(path: Path, documents: int) -> None:
    """Notes that none of so many documents needs another answer."""
    write_json(path, {**read_json(path), "settled_documents": documents})


def is_settled(path: Path, documents: int) -> bool:
    """Whether every one of so many documents is settled, as far as the last session knew."""
    return path.exists() and read_json(path).get("settled_documents") == documents


class Session:
    """What one start of the engine did; kept beside those of earlier starts.

    Attributes:
        answers: How many answers this session made durable.
    """

    def __init__(self, path: Path, config: EngineConfig, devices: list[Device]) -> None:
        self.answers = 0
        self._path = path
        self._about = {
            "backend": config.backend,
            "model": config.model,
            "device": devices[0].kind,
            "device_name": devices[0].name,
            "replicas": len(devices),
        }
        self._earlier = read_json(path)["sessions"] if path.exists() else []
        self._begun_s = self._ready_s = time.monotonic()
        self._written_s = 0.0
        self._devices_ready_s: Mapping[int, float] = {}

    def started(self, ready_s: Mapping[int, float]) -> None:
        """The first worker is ready.

        Args:
            ready_s: When each device was ready, by number; looked at again at each writing.
        """
        self._ready_s, self._devices_ready_s = time.monotonic(), ready_s
        self._write()

    def counted(self, answers: int) -> None:
        """Counts answers; writes every few seconds, so that a killed session is known too."""
        self.answers += answers
        if time.monotonic() - self._written_s >= WRITTEN_EVERY_S:
            self._write()

    def ended(self, documents: int) -> None:
        """Every one of so many documents is settled."""
        self._write()
        mark_settled(self._path, documents)

    def stopped(self) -> None:
        """Some documents are left; a session in which no worker was ready is not one."""
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
