"""The model card says what was measured, and what was not."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.toy import a_training
from xpoll.student.card import write_card

TRAINING = a_training(
    encoder="all-minilm-l6-v2",
    rows=150,
    abstained=2,
    held_out_rows=15,
    label_counts={"bad": 100, "good": 50, "fair": 0},
    seed=3,
    wall_s=12.5,
    temperature=1.25,
).model_dump(mode="json")
CONFIG: dict[str, Any] = {
    "job": {"name": "moods"},
    "documents": {"path": "texts.csv"},
    "task": {"question": "how is | the\nmood?", "labels": {"bad": "it is bad", "good": "", "fair": ""}},
    "engine": {"model": "a-teacher"},
    "panel": {"personas": ["a", "b"]},
    "vote": {"method": "posterior"},
}
SCORES = {
    "accuracy": 0.9,
    "accuracy_ci95": [0.85, 0.93],
    "f1_macro": 0.88,
    "ece": None,
    "per_class": {"bad": {"precision": 0.9, "recall": 0.8, "support": 60}},
}


def card(folder: Path, evaluation: dict[str, Any] | None, metrics: dict[str, Any] | None = None) -> str:
    (folder / "training.json").write_text(json.dumps(TRAINING))
    return write_card(folder, CONFIG, evaluation, metrics).read_text(encoding="utf-8")


def test_a_card_without_gold_rows_says_that_nothing_was_measured(tmp_path: Path) -> None:
    text = card(tmp_path, None)
    assert "Accuracy: not measured" in text and "Energy of labelling and training: not measured" in text
    assert "No text was voted 'fair'" in text
    assert "mean answers" not in text


def test_a_card_says_how_the_student_stands_to_its_votes(tmp_path: Path) -> None:
    said = {"sentence": "The student is level with its teacher.", "votes_sentence": "It gives the voted label on 90 %."}
    evaluation = {"gold_rows": 200, "student": SCORES, "teacher": SCORES, "comparison": said}
    text = card(tmp_path, evaluation)
    assert "\n\nThe student is level with its teacher. It gives the voted label on 90 %.\n\n" in text
    assert "level with" not in card(tmp_path, evaluation | {"comparison": None})


def test_a_card_says_that_an_ensemble_taught(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(json.dumps(TRAINING | {"members": 5}))
    text = write_card(tmp_path, CONFIG, None, None).read_text(encoding="utf-8")
    assert "- It was trained on the mean answers of 5 students of these." in text
    (tmp_path / "training.json").write_text(json.dumps(TRAINING | {"members": 5, "variants": 2}))
    text = write_card(tmp_path, CONFIG, None, None).read_text(encoding="utf-8")
    assert "5 students of these, also to 2 texts made of the words of each." in text
    head = yaml.safe_load(text.split("---")[1])
    assert head["base_model"] == "all-minilm-l6-v2" and head["pipeline_tag"] == "text-classification"
    assert "metrics" not in head


@pytest.mark.parametrize("pruned", [0, 9])
def test_a_card_says_how_many_votes_were_left_out(tmp_path: Path, pruned: int) -> None:
    (tmp_path / "training.json").write_text(json.dumps(TRAINING | {"pruned": pruned}))
    text = write_card(tmp_path, CONFIG, None, None).read_text(encoding="utf-8")
    said = "- 9 texts were left out: students of other texts contradict their votes."
    assert said in text if pruned else "students of other texts" not in text


def test_a_card_has_scores_energy_and_the_verdict(tmp_path: Path) -> None:
    evaluation = {"gold_rows": 120, "student": SCORES, "teacher": SCORES | {"ece": 0.05}}
    evaluation["next_step"] = {"decision": "ship", "why": "It gets 90 %."}
    text = card(tmp_path, evaluation, {"energy": {"energy_j": 1234.4, "source": "rapl"}})
    assert "| this model | 90.0 % | 88.0 % | not measured |" in text
    assert "| the votes that taught it | 90.0 % | 88.0 % | 0.050 |" in text
    assert "85.0 to 93.0 %" in text and "1234 J (rapl)" in text and "Verdict: ship. It gets 90 %." in text
    assert "| bad | 0.90 | 0.80 | 60 |" in text


def test_text_of_a_config_breaks_no_structure(tmp_path: Path) -> None:
    assert "answers: how is | the mood?\n" in card(tmp_path, None)
