"""stages.json: wall time and energy of each step of a run.

A list in chronological order: stage, begun_utc, complete, wall_s, energy (source, energy_j, by_counter, why)
and idle (idle_w, spread: the power right before the stage, null where it was not measured). A stage that was
killed has the figures of a few seconds before. The keys of by_counter say what was counted: the source, the part, and
in brackets its power domain ("sysman gpu0 (package)") or how its power became energy.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xpoll.core.errors import RunFolderError
from xpoll.core.files import read_json, write_json
from xpoll.energy.sources import Counters
from xpoll.energy.window import Idle, Window, idle_power

WRITTEN_EVERY_S = 5.0
NOT_IDLE = Idle(None, None)


@contextmanager
def measured_stage(path: Path, stage: str, found: Counters, *, with_idle: bool = False) -> Iterator[None]:
    """Measures the block and keeps its entry in the file up to date; a failed block stays incomplete.

    Args:
        path: The file; entries of earlier sessions stay.
        stage: Name of the step.
        found: The energy counters; closed at the end.
        with_idle: Whether to measure the idle power first, which takes IDLE_S seconds where it can be read.
    """
    earlier = read_stages(path)
    idle = idle_power(found) if with_idle else NOT_IDLE
    begun_utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    over = threading.Event()

    def write(window: Window, *, complete: bool) -> None:
        energy = window.energy.as_json()
        wall_s = energy.pop("wall_s")
        about = {"stage": stage, "begun_utc": begun_utc, "complete": complete, "wall_s": wall_s}
        write_json(path, [*earlier, about | {"energy": energy, "idle": idle._asdict()}])

    def keep_writing(window: Window) -> None:
        while not over.wait(WRITTEN_EVERY_S):
            write(window, complete=False)

    window = Window(found)
    complete = False
    writer = threading.Thread(target=keep_writing, args=(window,), daemon=True)
    try:
        with window:
            writer.start()
            yield
            complete = True
    finally:
        over.set()
        if writer.ident is not None:
            writer.join()
        write(window, complete=complete)
        for counter in found.counters:
            counter.close()


RESUMED = ("synthesize", "poll")
"""Steps that ask engines: what they have done is done once."""


def read_stages(path: Path) -> list[dict[str, Any]]:
    """The entries of the file; empty without it.

    Raises:
        RunFolderError: the file is damaged.
    """
    stages = read_json(path) if path.exists() else []
    if not isinstance(stages, list) or not all(isinstance(each, dict) and "stage" in each for each in stages):
        raise RunFolderError(f"{path} holds no list of steps", mend="delete it; it has times and energy alone")
    return stages


def latest(stages: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The entries that produced the run folder's results, by stage, in chronological order.

    A step of RESUMED resumes where it stopped, so all of its sessions count; any other stage replaces its results, so
    its last complete session counts.
    """
    chosen: dict[str, list[Mapping[str, Any]]] = {}
    for entry in stages:
        if entry["stage"] in RESUMED:
            chosen.setdefault(entry["stage"], []).append(entry)
        elif entry["complete"]:
            chosen[entry["stage"]] = [entry]
    return chosen
