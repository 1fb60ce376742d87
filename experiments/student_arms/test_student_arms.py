"""An expert's label scores test sentences and does nothing else; each arm has its targets and its recipe."""

from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import suite_of
from experiments.student_arms import student_arms as module
from experiments.student_arms.student_arms import ARMS, measure, rows_of
from tests.support.recorded import recorded_answers
from tests.support.toy import make_encoder
from xpoll.benchmarks.workloads.student_sentences import read_sentences
from xpoll.core.errors import ConfigError


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_encoder(tmp_path_factory.mktemp("encoder"), positions=512))


def parameters(data: Path, encoder: str) -> dict[str, object]:
    student = {"epochs": 4, "learning_rate": 1e-2, "min_steps": 0, "max_length": 32, "held_out": 0.0, "frozen": 2}
    return {
        "data": str(data),
        "encoder": encoder,
        "student": student | {"precision": "fp32"},
        "arms": ["hard", "pruned"],
        "ipex_python": ".venv-ipex/bin/python",
        "seeds": 2,
        "threads": 0,
    }


def test_there_is_a_record_per_seed_and_one_for_all(tmp_path: Path, encoder: str) -> None:
    records = list(measure(parameters(recorded_answers(tmp_path), encoder)))
    teacher, *rest = records
    assert 0.7 < teacher["teacher_accuracy"] < 1
    assert [(record["arm"], record.get("seed")) for record in rest] == [
        ("hard", 0),
        ("hard", 1),
        ("hard", None),
        ("pruned", 0),
        ("pruned", 1),
        ("pruned", None),
    ]
    assert rest[2]["hard_accuracy_mean"] == pytest.approx(np.mean([record["accuracy"] for record in rest[:2]]))
    assert rest[5]["pruned_accuracy_mean"] > 0.9


def test_ipex_is_held_against_native_training_on_the_same_labels(
    tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = {"hard": 0.935, "hard_ipex": 0.925}
    monkeypatch.setattr(module, "_arm", lambda arm, *_: iter([{"arm": arm, f"{arm}_accuracy_mean": means[arm]}]))
    given = parameters(recorded_answers(tmp_path), encoder) | {"arms": [*means]}
    assert list(measure(given))[-1]["ipex_points_off"] == pytest.approx(1.0)
    assert "ipex_points_off" not in list(measure(given | {"arms": ["hard_ipex"]}))[-1]


def test_the_plain_loop_is_an_arm_and_is_held_against_ours(tmp_path: Path, encoder: str) -> None:
    given = parameters(recorded_answers(tmp_path), encoder) | {"arms": ["plain_loop", "hard"], "seeds": 1}
    _, plain, plain_mean, hard, hard_mean, off = measure(given)
    assert (plain["arm"], plain["rows"], plain["pruned"]) == ("plain_loop", 120, 0)
    assert plain["accuracy"] == plain_mean["plain_loop_accuracy_mean"] and hard["arm"] == "hard"
    points = 100 * (plain_mean["plain_loop_accuracy_mean"] - hard_mean["hard_accuracy_mean"])
    assert off["points_lost_to_plain_loop"] == pytest.approx(points)


def test_experts_labels_of_train_sentences_change_nothing(tmp_path: Path, encoder: str) -> None:
    found = []
    for name, truth in (("as they are", None), ("all neutral", "neutral")):
        data = recorded_answers(tmp_path / name, train_truth=truth)
        found.append(list(measure(parameters(data, encoder) | {"arms": ["hard"], "seeds": 1})))
    assert found[0] == found[1]


def test_every_arm_has_targets_of_its_own(tmp_path: Path) -> None:
    train, _ = read_sentences(str(recorded_answers(tmp_path)))
    targets = {arm: [row.distribution for row in rows_of(arm, train)] for arm in ARMS}
    assert {max(row) for row in targets["hard"]} == {1.0}
    assert all(sum(row) == pytest.approx(1) for row in targets["smoothed"])
    assert min(sum(row) for row in targets["weighted"]) < 1
    assert targets["soft"] == targets["pruned"] == targets["probed_ensemble"]
    assert [row.label is None for row in rows_of("half", train)] == [False, True] * 60


def test_arms_that_are_asked_for_are_known(tmp_path: Path, encoder: str) -> None:
    file = suite_of("student_arms").read()
    assert set(file["parameters"]["arms"]) <= set(ARMS)
    assert [check["name"] for check in file["checks"]] == ["teacher_accuracy"], "453 sentences show no more"
    with pytest.raises(ConfigError, match="there is no arm 'cotrained' -> known arms: plain_loop, hard"):
        next(measure(parameters(tmp_path, encoder) | {"arms": ["cotrained"]}))
