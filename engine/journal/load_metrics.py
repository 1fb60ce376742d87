"""load.jsonl: load metrics of each worker, one line per worker every few seconds.

Keys of a line:
    unix_s                  when it was written
    worker, device          names of the worker and its device
    handed_over, held_back  prompts in the engine, and prompts queued in the worker for room there
    running, waiting        the engine's own batch and queue; null where the engine reports none
    kv_cache_usage          share of the KV cache in use, 0 to 1; null where the engine reports none
    answers, prompt_tokens, cached_prompt_tokens, output_tokens   totals since the start of the session
"""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from xpoll.core.files import cannot_write, json_value
from xpoll.engine.work import WorkerReply

WRITTEN_EVERY_S = 5.0
READ_BYTES = 2**20  # several thousand lines
TOKENS = ("prompt_tokens", "cached_prompt_tokens", "output_tokens")


class LoadMetrics:
    """Keeps the latest metrics of every worker, and appends them to the file every WRITTEN_EVERY_S seconds.

    Args:
        path: The file; lines of earlier sessions stay.
        devices: Name of each worker's device, by the worker's number.
    """

    def __init__(self, path: Path, devices: list[str]) -> None:
        self._path, self._devices = path, devices
        self._latest: dict[int, dict[str, Any]] = {}
        self._totals = [dict.fromkeys(("answers", *TOKENS), 0) for _ in devices]
        self._written_s = time.monotonic()

    def update(self, number: int, reply: WorkerReply) -> None:
        """Records a worker's reply.

        Args:
            number: The worker's number.
            reply: Its reply.

        Raises:
            RunFolderError: the disk is full or read-only.
        """
        totals = self._totals[number]
        if reply.answers is not None:
            totals["answers"] += reply.answers.num_rows
            for name in TOKENS:
                totals[name] += _sum(reply.answers.column(name))
        running, waiting, usage = reply.load or (None, None, None)
        self._latest[number] = {
            "worker": f"worker-{number}",
            "device": self._devices[number],
            "handed_over": reply.running,
            "held_back": reply.waiting,
            "running": running,
            "waiting": waiting,
            "kv_cache_usage": None if usage is None else round(usage, 4),
        }
        if time.monotonic() - self._written_s >= WRITTEN_EVERY_S:
            self.write()

    def write(self) -> None:
        """Appends a line for every worker with an update since the last write.

        Raises:
            RunFolderError: the disk is full or read-only.
        """
        self._written_s = time.monotonic()
        unix_s = round(time.time(), 1)
        lines = [
            json.dumps({"unix_s": unix_s, **latest, **self._totals[number]}) + "\n"
            for number, latest in sorted(self._latest.items())
        ]
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._latest.clear()


def latest_loads(path: Path) -> list[dict[str, Any]]:
    """The last line of each worker, sorted by name; reads only the end of the file. Empty without a file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        begin = max(0, path.stat().st_size - READ_BYTES)
        file.seek(begin)
        lines = file.read().split(b"\n")
    whole = lines[1:-1] if begin else lines[:-1]  # the last piece is empty, or a line that is still being written
    latest = {line["worker"]: line for line in map(_line_in, whole) if line is not None}
    return sorted(latest.values(), key=lambda line: (len(line["worker"]), line["worker"]))


def _line_in(content: bytes) -> dict[str, Any] | None:
    """What a line holds; None of one that is damaged."""
    with suppress(ValueError):
        line = json_value(content)
        if isinstance(line, dict) and isinstance(line.get("worker"), str):
            return line
    return None


def _sum(column: pa.Array) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(column).as_py() or 0)
