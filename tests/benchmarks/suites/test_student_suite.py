"""The suite `student`: training rates, ways to serve and what INT8 loses, on made-up recorded answers."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.recorded import recorded_answers
from tests.support.toy import make_encoder
from xpoll.benchmarks.suites.student import measure as measure_student
from xpoll.benchmarks.workloads import student_int8, student_serving
from xpoll.benchmarks.workloads.recording import LABELS
from xpoll.benchmarks.workloads.student_sentences import read_sentences, voted_rows
from xpoll.benchmarks.workloads.student_throughput import BUCKETED, PLAIN, UPPER, measure_throughput
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
        "recipe": {"dropout": 0.0},
        "ipex_python": ".venv-ipex/bin/python",
        "seeds": 1,
        "repeats": 1,
        "throughput_rows": 32,
        "throughput_epochs": 1,
        "throughput_frozen": 2,
    }


def test_a_data_folder_must_be_given_and_hold_the_answers(tmp_path: Path, encoder: str) -> None:
    for data, said in (("", "parameters.data is empty"), (str(tmp_path), "there is no file")):
        given = parameters(tmp_path, encoder) | {"data": data, "parts": ["throughput"]}
        with pytest.raises(ConfigError, match=rf"{said}.* -> --set parameters.data=FOLDER"):
            next(measure_student(given))


def test_students_are_trained_on_the_train_sentences_votes(tmp_path: Path) -> None:
    train, test = read_sentences(str(recorded_answers(tmp_path)))
    assert len(train.texts) == 120 and len(test.texts) == 45 and test.shares is None
    rows = voted_rows(train)
    assert [row.text for row in rows] == train.texts
    assert all(row.label == LABELS[np.argmax(row.distribution)] for row in rows)


def test_throughput_arms_run_in_turn_and_are_set_against_the_plain_loop(tmp_path: Path, encoder: str) -> None:
    train, _ = read_sentences(str(recorded_answers(tmp_path)))
    records = list(measure_throughput(train.texts, train.labels, parameters(tmp_path, encoder)))
    assert [record["arm"] for record in records[:3]] == [PLAIN, BUCKETED, UPPER]
    rates = {record["arm"]: record["train_texts_per_s"] for record in records[:3]}
    assert records[3]["train_speedup"] == pytest.approx(rates[BUCKETED] / rates[PLAIN])
    assert records[4]["train_speedup_frozen"] == pytest.approx(rates[UPPER] / rates[PLAIN])


def test_ways_to_serve_are_held_against_the_pipeline_in_the_same_repeat(
    tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def way(name: str, student: Path) -> Callable[[Sequence[str]], list[str]]:
        assert (student / "config.json").exists()

        def classify(texts: Sequence[str]) -> list[str]:
            calls[name] += len(texts) == 45
            time.sleep(0.04 if name == "pipeline" else 0.01)
            return ["neutral"] * len(texts)

        return classify

    monkeypatch.setattr(student_serving, "_way", way)
    monkeypatch.setattr(student_serving, "_export", lambda *_: False)
    serving = {"serving_encoders": ["toy"], "serving_rows": 45, "serving_repeats": 2, "serving_rounds": 2}
    made_parameters = (
        parameters(recorded_answers(tmp_path), encoder) | serving | {"parts": ["serving"], "serving_window_s": 0.08}
    )
    records = list(measure_student(made_parameters | {"usd_per_hour": 0.1}))
    for first in (record for record in records if "first_pass_texts_per_s" in record):
        passes = max(1, round(0.08 * first["first_pass_texts_per_s"] / 45))
        assert calls[first["arm"]] == 1 + 2 * 2 * passes, "one pass to warm up, then as many as fill each window"
    assert calls["pytorch"] >= calls["pipeline"] >= 5
    timed = [record for record in records if "texts_per_s" in record]
    assert [(record["arm"], record["repeat"]) for record in timed] == [
        (way, repeat) for repeat in (0, 1) for way in ("pytorch", "pipeline")
    ]
    assert {record["accuracy"] for record in timed} == {1 / 3}
    pairs = [record["pytorch_speedup"] for record in records if "pytorch_speedup" in record]
    rates = {(record["arm"], record["repeat"]): record["texts_per_s"] for record in timed}
    assert pairs == [rates["pytorch", repeat] / rates["pipeline", repeat] for repeat in (0, 1)]
    assert records[-1]["pytorch_speedup_median"] == pytest.approx(np.mean(pairs))


def test_what_int8_loses_is_said_of_each_student_and_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, test = read_sentences(str(recorded_answers(tmp_path)))
    wrong_label = {label: LABELS[(LABELS.index(label) + 1) % 3] for label in LABELS}

    def answers(student: Path, way: str, _: object) -> student_int8.LabelledSentences:
        """Right but for five; in INT8 student 1 has nine further errors, with INT8 weights each has one less."""
        wrong = {"pytorch": 5, "openvino-int8": 5 + 9 * int(student.name), "openvino-int8-weights": 4}[way]
        labels = [wrong_label[label] if i < wrong else label for i, label in enumerate(test.labels)]
        return student_int8.LabelledSentences(labels, 3 if way == "openvino-int8" else 0)

    monkeypatch.setattr(student_int8, "_answers", answers)
    first, second, both = student_int8.measure_points_lost([Path("0"), Path("1")], test, "toy")
    assert (first["seed"], first["int8_points_lost"], first["labels_changed"]) == (0, 0, 0)
    assert (second["seed"], second["int8_points_lost"], second["labels_changed"]) == (1, pytest.approx(20), 9)
    assert first["fp32_accuracy"] == pytest.approx(40 / 45) and first["computed_again"] == 3
    assert first["int8_weights_points_lost"] == pytest.approx(-100 / 45)
    assert both["int8_points_lost_mean"] == pytest.approx(10)
