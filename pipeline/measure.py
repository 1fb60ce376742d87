"""Measures the steps of a run: stages.json gets wall time and energy of each."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from xpoll.core.config.job import Config, EngineConfig
from xpoll.core.config.teachers import teachers_of
from xpoll.core.run_folder import RunFolder
from xpoll.energy.sources import Counters, find_counters
from xpoll.energy.stages import measured_stage
from xpoll.engine.backends.registry import spec_of
from xpoll.engine.devices.find import find_devices

ON_ENGINES = ("synthesize", "poll")
ON_ACCELERATOR = (*ON_ENGINES, "train", "evaluate")


def measured(step: str, config: Config, folder: RunFolder) -> AbstractContextManager[None]:
    """The context in which a step runs; the report itself is not measured, since it tells the figures."""
    if step == "report":
        return nullcontext()
    return measured_stage(
        folder.stages,
        step,
        _counters(step, *(teacher.config.engine for teacher in teachers_of(config))),
        with_idle=step in ON_ENGINES,
    )


def _counters(step: str, *engines: EngineConfig) -> Counters:
    if step in ON_ENGINES and any(config.address or not spec_of(config.backend).runs_here for config in engines):
        return Counters([], "none", "the engines compute on other machines")
    computing = [config for config in engines if spec_of(config.backend).runs_model]
    if step in ON_ENGINES and not computing:
        return Counters([], "none", f"no model runs with engine.backend = {engines[0].backend!r}")
    if step not in ON_ACCELERATOR:
        return find_counters("cpu")
    # The student takes what PyTorch finds, whatever the engines took, and perhaps on another machine.
    kinds = [find_devices(config.device, 0)[0].kind for config in computing] if step in ON_ENGINES else []
    kinds = kinds or [find_devices("auto", 0)[0].kind]
    return find_counters(next((kind for kind in kinds if kind != "cpu"), "cpu"))


class TimedStudent:
    """A student that also tells how fast it labels; the first batch's warm-up is inside."""

    def __init__(self, student: Any) -> None:
        self.labels = student.labels
        self._student, self._texts, self._wall_s = student, 0, 0.0
        self.last: Any = None
        """(texts, labels) probabilities of the last call; None before it."""

    def probabilities(self, texts: Sequence[str]) -> Any:
        """As `StudentModel.probabilities`."""
        self.last = self._timed(self._student.probabilities, texts)
        return self.last

    def spans(self, texts: Sequence[str]) -> Any:
        """As `SpanModel.spans`."""
        return self._timed(self._student.spans, texts)

    def fitting(self, probabilities: Any) -> Any:
        """As `LabelSetModel.fitting`."""
        return self._student.fitting(probabilities)

    def _timed(self, answer: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> Any:
        begun_s = time.perf_counter()
        found = answer(texts)
        self._wall_s += time.perf_counter() - begun_s
        self._texts += len(texts)
        return found

    def serving(self) -> dict[str, float] | None:
        """Texts labelled, seconds, and their ratio; None where nothing was labelled."""
        if not self._texts or not self._wall_s:
            return None
        rate = round(self._texts / self._wall_s, 3)
        return {"texts": self._texts, "wall_s": round(self._wall_s, 4), "texts_per_s": rate}
