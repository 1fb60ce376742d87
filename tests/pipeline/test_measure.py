"""Which counters a step is given, and how fast a student was seen to label."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpoll.core.config.job import EngineConfig
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline import measure
from xpoll.pipeline.measure import TimedStudent


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of device whose counters were looked for."""
    kinds: list[str] = []
    monkeypatch.setattr(measure, "find_counters", kinds.append)
    return kinds


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (EngineConfig(address="head:6379"), "the engines compute on other machines"),
        (EngineConfig(backend="openai"), "the engines compute on other machines"),
        (EngineConfig(backend="replay"), "no model runs with engine.backend = 'replay'"),
        (EngineConfig(backend="simulated"), "no model runs with engine.backend = 'simulated'"),
    ],
)
def test_a_poll_whose_model_does_not_run_here_is_not_measured(asked: list[str], config: EngineConfig, why: str) -> None:
    found = measure._counters("poll", config)
    assert (found.counters, found.source, found.why) == ([], "none", why)
    assert asked == []


def test_each_step_is_given_the_counters_of_what_it_computes_on(asked: list[str]) -> None:
    for step in ("poll", "vote", "train", "evaluate"):
        measure._counters(step, EngineConfig(device="cpu"))
    assert asked[:2] == ["cpu", "cpu"] and len(asked) == 4


def test_the_report_is_not_measured_because_it_tells_the_figures(tmp_path: Path) -> None:
    from xpoll.core.config.job import Config, DocumentsConfig, TaskConfig

    config = Config(documents=DocumentsConfig(path="texts.csv"), task=TaskConfig(labels=["a", "b"]))  # type: ignore[arg-type]
    with measure.measured("report", config, RunFolder(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []


class Student:
    labels = ("a", "b")

    def probabilities(self, texts: list[str]) -> Any:
        time.sleep(0.01)
        return np.full((len(texts), 2), 0.5)


def test_a_timed_student_answers_as_the_student_does_and_counts_texts() -> None:
    timed = TimedStudent(Student())
    assert timed.serving() is None and timed.last is None
    assert timed.probabilities(["x"] * 3).shape == (3, 2)
    timed.probabilities(["y"])
    assert timed.last.shape == (1, 2)
    serving = timed.serving()
    assert serving is not None and serving["texts"] == 4
    assert serving["wall_s"] >= 0.02
    assert serving["texts_per_s"] == pytest.approx(4 / serving["wall_s"], rel=0.01)
