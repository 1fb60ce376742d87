"""stages.json and what metrics.json says of it: energy by stage, answer and label, or the reason why not."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_sysfs import Scripted, found
from xpoll.core.config.job import ReportConfig
from xpoll.energy import stages as module
from xpoll.energy.stages import measured_stage, read_stages
from xpoll.report.energy import energy_of
from xpoll.report.metrics import EnergyFigures
from xpoll.report.wording import energy_reasons, estimate_sentence


def entry(stage: str, energy_j: float | None, *, wall_s: float = 10.0, complete: bool = True, why: str = "") -> Any:
    energy = {"source": "rapl" if energy_j is not None else "none", "energy_j": energy_j, "by_counter": {}, "why": why}
    idle = {"idle_w": 20.0 if stage == "poll" else None, "spread": 0.02 if stage == "poll" else None}
    about = {"stage": stage, "begun_utc": "2026-01-01T00:00:00Z", "complete": complete, "wall_s": wall_s}
    return about | {"energy": energy, "idle": idle}


def figures(*entries: Any, right: float | None = 80.0, **config: Any) -> EnergyFigures:
    return energy_of(entries, answers=600, decided=100, right=right, config=ReportConfig(**config))


def test_a_stage_is_written_with_its_energy(tmp_path: Path) -> None:
    counter = Scripted([10.0, 35.0])
    with measured_stage(tmp_path / "stages.json", "vote", found(counter)):
        time.sleep(0.01)
    (written,) = read_stages(tmp_path / "stages.json")
    assert (written["stage"], written["complete"], written["energy"]["energy_j"]) == ("vote", True, 25.0)
    assert counter.closed


def test_a_stage_that_fails_is_kept_as_incomplete_beside_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "stages.json"
    with measured_stage(path, "poll", found(Scripted([0.0, 5.0]))):
        time.sleep(0.01)
    with pytest.raises(RuntimeError), measured_stage(path, "train", found(Scripted([0.0, 7.0]))):
        raise RuntimeError("killed")
    assert [(each["stage"], each["complete"]) for each in read_stages(path)] == [("poll", True), ("train", False)]


def test_a_stage_that_is_killed_has_left_what_was_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITTEN_EVERY_S", 0.01)
    path = tmp_path / "stages.json"
    with measured_stage(path, "poll", found(Scripted([0.0, 5.0]))):
        deadline_s = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        (so_far,) = read_stages(path)
    assert so_far["complete"] is False
    assert so_far["wall_s"] > 0


def test_energy_is_stated_by_stage_answer_label_and_correct_label() -> None:
    energy = figures(entry("poll", 3000.0), entry("vote", 40.0), entry("train", 500.0), entry("evaluate", 60.0))
    assert energy.stages == {"poll": 3000.0, "vote": 40.0, "train": 500.0, "evaluate": 60.0}
    assert (energy.energy_j, energy.source, energy.idle_w) == (3600.0, "rapl", 20.0)
    assert energy.per_answer_j == 5.0
    assert (energy.per_label_j, energy.per_correct_label_j) == (30.4, 38.0)
    assert figures(entry("poll", 3000.0), entry("vote", 40.0), right=None).per_correct_label_j is None


def test_all_sessions_of_a_poll_count_and_of_another_stage_the_last_complete_one() -> None:
    sessions = [entry("poll", 100.0, complete=False), entry("poll", 200.0), entry("vote", 5.0), entry("vote", 6.0)]
    assert figures(*sessions, entry("train", 9.0, complete=False)).stages == {"poll": 300.0, "vote": 6.0}


def test_one_session_that_was_not_measured_leaves_its_stage_and_the_sum_unknown() -> None:
    energy = figures(entry("poll", None, why="no permission"), entry("poll", 200.0), entry("vote", 5.0))
    assert energy.stages == {"poll": None, "vote": 5.0}
    assert (energy.energy_j, energy.per_answer_j, energy.per_label_j) == (None, None, None)
    assert energy.why == {"poll": ("no permission",)}
    assert energy_reasons(energy) == "poll: no permission"


def test_without_counters_nothing_is_stated_and_an_estimate_only_where_asked_for() -> None:
    entries = entry("poll", None, why="no RAPL"), entry("vote", None, wall_s=2.0, why="no RAPL")
    energy = figures(*entries)
    assert (energy.source, energy.energy_j, energy.estimate) == ("none", None, None)
    assert energy_reasons(energy) == "poll, vote: no RAPL"
    asked = figures(*entries, estimate_energy_tdp_w=150.0)
    assert asked.energy_j is None, "an estimate never takes the place of a measurement"
    assert asked.estimate is not None and asked.estimate.energy_j == 1800.0
    assert estimate_sentence(asked.estimate).startswith("an estimate, not a measurement: 150 W")
