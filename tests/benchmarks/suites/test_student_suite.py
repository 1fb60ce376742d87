"""The suite `student` never reads an expert's label but to score test sentences."""

import csv
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.toy import make_encoder
from xpoll.benchmarks.suites import student as module
from xpoll.benchmarks.suites.student import measure as measure_student
from xpoll.benchmarks.workloads import student_int8, student_serving
from xpoll.benchmarks.workloads.recording import LABELS, SAMPLES
from xpoll.benchmarks.workloads.student_arms import ARMS, read_sentences, rows_of, settings
from xpoll.benchmarks.workloads.student_throughput import BUCKETED, PLAIN, UPPER, measure_throughput

WORDS = {"negative": "loss", "neutral": "flat", "positive": "gain"}


def made_up(folder: Path, *, train_truth: str | None = None) -> Path:
    """Recorded answers, mostly right; with `train_truth` the experts call every train sentence that."""
    draw = np.random.default_rng(5)
    (folder / "phrasebank").mkdir(parents=True)
    for split, count in (("train", 120), ("test", 45)):
        columns = ["document_id", "text", "label_experts", "label_simple", "label_cot", *SAMPLES]
        with (folder / f"phrasebank/mixtral_{split}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow([*columns, "label_majority_published"])
            for i in range(count):
                truth = i % 3
                answers = [LABELS[truth if draw.random() < 0.9 else draw.integers(3)] for _ in range(5)]
                experts = train_truth if train_truth and split == "train" else LABELS[truth]
                text = f"the firm said {WORDS[LABELS[truth]]} today"
                table.writerow([f"{split}-{i}", text, experts, *answers, answers[2]])
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_encoder(tmp_path_factory.mktemp("encoder"), positions=512))


def parameters(data: Path, encoder: str) -> dict[str, object]:
    student = {"epochs": 4, "learning_rate": 1e-2, "min_steps": 0, "max_length": 32, "held_out": 0.0, "frozen": 2}
    return {
        "data": str(data),
        "parts": ["quality"],
        "encoder": encoder,
        "student": student | {"precision": "fp32"},
        "arms": ["hard", "pruned"],
        "ipex_python": ".venv-ipex/bin/python",
        "seeds": 2,
        "threads": 0,
        "repeats": 1,
        "throughput_rows": 32,
        "throughput_epochs": 1,
        "throughput_frozen": 2,
    }


def test_quality_has_a_record_a_seed_and_one_for_all(tmp_path: Path, encoder: str) -> None:
    records = list(measure_student(parameters(made_up(tmp_path), encoder)))
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
    given = parameters(made_up(tmp_path), encoder) | {"arms": [*means]}
    assert list(measure_student(given))[-1]["ipex_points_off"] == pytest.approx(1.0)
    assert "ipex_points_off" not in list(measure_student(given | {"arms": ["hard_ipex"]}))[-1]
    config = settings(given, **ARMS["hard_ipex"])
    assert (config.backend, config.ipex_python, config.soft_labels) == ("ipex", ".venv-ipex/bin/python", False)


def test_the_plain_loop_is_an_arm_and_is_held_against_ours(tmp_path: Path, encoder: str) -> None:
    given = parameters(made_up(tmp_path), encoder) | {"arms": ["plain_loop", "hard"], "seeds": 1}
    _, plain, plain_mean, hard, hard_mean, off = measure_student(given)
    assert (plain["arm"], plain["rows"], plain["pruned"]) == ("plain_loop", 120, 0)
    assert plain["accuracy"] == plain_mean["plain_loop_accuracy_mean"] and hard["arm"] == "hard"
    points = 100 * (plain_mean["plain_loop_accuracy_mean"] - hard_mean["hard_accuracy_mean"])
    assert off["points_lost_to_plain_loop"] == pytest.approx(points)


def test_experts_labels_of_train_sentences_change_nothing(tmp_path: Path, encoder: str) -> None:
    found = []
    for name, truth in (("as they are", None), ("all neutral", "neutral")):
        data = made_up(tmp_path / name, train_truth=truth)
        found.append(list(measure_student(parameters(data, encoder) | {"arms": ["hard"], "seeds": 1})))
    assert found[0] == found[1]


def test_every_arm_has_targets_of_its_own(tmp_path: Path) -> None:
    train, test = read_sentences(str(made_up(tmp_path)))
    assert len(train.texts) == 120 and len(test.texts) == 45 and test.shares is None
    targets = {arm: [row.distribution for row in rows_of(arm, train)] for arm in ARMS}
    assert {max(row) for row in targets["hard"]} == {1.0}
    assert all(sum(row) == pytest.approx(1) for row in targets["smoothed"])
    assert min(sum(row) for row in targets["weighted"]) < 1
    assert targets["soft"] == targets["pruned"] == targets["distilled"]


def test_throughput_arms_run_in_turn_and_are_set_against_the_plain_loop(tmp_path: Path, encoder: str) -> None:
    train, _ = read_sentences(str(made_up(tmp_path)))
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
        parameters(made_up(tmp_path), encoder) | serving | {"parts": ["serving"], "serving_window_s": 0.08}
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
    _, test = read_sentences(str(made_up(tmp_path)))
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
