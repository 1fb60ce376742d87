"""The model card says what was measured, and what was not."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.toy import a_training
from xpoll.student.card import EnergyUsed, write_card
from xpoll.student.evaluation import Evaluation, Score, TeacherComparison, Verdict

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
NO_ENERGY = EnergyUsed(None, "none")


def score(**changes: Any) -> Score:
    found: dict[str, Any] = {
        "accuracy": 0.9,
        "accuracy_ci95": (0.85, 0.93),
        "f1_macro": 0.88,
        "f1_macro_ci95": (0.8, 0.9),
        "ece": None,
        "per_class": {"bad": {"precision": 0.9, "recall": 0.8, "f1": 0.85, "support": 60}},
        "confusion": (),
        "abstained": 0,
        "abstention_rate": 0.0,
    }
    return Score.model_validate(found | changes)


def evaluation(**changes: Any) -> Evaluation:
    found: dict[str, Any] = {
        "gold_rows": 200,
        "labels": ("bad", "good", "fair"),
        "teacher": score(ece=0.05),
        "student": score(),
        "verdict": Verdict(word="ship", reasons=("wanted accuracy met",), wanted_accuracy=0.9),
    }
    return Evaluation.model_validate(found | changes)


def written(folder: Path, **training: Any) -> str:
    """The card of a student without scores whose training.json has these keys."""
    (folder / "training.json").write_text(json.dumps(TRAINING | training))
    return write_card(folder, CONFIG, None, personas=2, energy=NO_ENERGY).read_text(encoding="utf-8")


def card(folder: Path, found: Evaluation | None, *, personas: int = 2, energy: EnergyUsed = NO_ENERGY) -> str:
    (folder / "training.json").write_text(json.dumps(TRAINING))
    return write_card(folder, CONFIG, found, personas=personas, energy=energy).read_text(encoding="utf-8")


def test_a_card_without_gold_rows_says_that_nothing_was_measured(tmp_path: Path) -> None:
    text = card(tmp_path, None)
    assert "Verdict: **not measured**." in text and "Energy of labelling and training: not measured" in text
    assert "No text was voted 'fair'" in text
    assert "mean answers" not in text


def test_a_card_says_how_the_student_stands_to_its_votes(tmp_path: Path) -> None:
    comparison = TeacherComparison(
        difference=0.0,
        difference_ci95=(-0.1, 0.1),
        p_value=1.0,
        within_noise=True,
        voted_rows=200,
        agreement=0.9,
        agreement_ci95=(0.85, 0.93),
        apart=None,
    )
    text = card(tmp_path, evaluation(comparison=comparison))
    assert (
        "\n\nThe student is level with its teacher (90.0 % both) on 200 gold rows; p = 1.00, within noise. "
        "It gives the voted label on 90.0 % (85.0 to 93.0) of the 200 rows that have one.\n\n"
    ) in text
    assert "level with" not in card(tmp_path, evaluation())


def test_a_card_says_that_an_ensemble_taught(tmp_path: Path) -> None:
    text = written(tmp_path, **{"members": 5})
    assert "- It was trained on the mean answers of 5 students of these." in text
    text = written(tmp_path, **{"members": 5, "variants": 2})
    assert "5 students of these, also to 2 texts made of the words of each." in text
    head = yaml.safe_load(text.split("---")[1])
    assert head["base_model"] == "all-minilm-l6-v2" and head["pipeline_tag"] == "text-classification"
    assert "metrics" not in head


@pytest.mark.parametrize("pruned", [0, 9])
def test_a_card_says_how_many_votes_were_left_out(tmp_path: Path, pruned: int) -> None:
    text = written(tmp_path, **{"pruned": pruned})
    said = "- 9 texts were left out: students of other texts contradict their votes."
    assert said in text if pruned else "students of other texts" not in text


def test_a_card_has_scores_energy_and_the_verdict(tmp_path: Path) -> None:
    text = card(tmp_path, evaluation(), energy=EnergyUsed(1234.4, "rapl"))
    assert "| this model | 90.0 % | 88.0 % | not measured |" in text
    assert "| the votes that taught it | 90.0 % | 88.0 % | 5.0 % |" in text
    assert "95 % interval of its accuracy: 85.0 to 93.0 %." in text and "1,234 J (rapl)" in text
    assert "Verdict: **ship**. The student gets 90.0 % (85.0 to 93.0) on 200 gold rows, 90 % is wanted" in text
    assert "| bad | 90.0 % | 80.0 % | 60 |" in text


def test_a_card_counts_the_personas_that_were_asked(tmp_path: Path) -> None:
    assert "answers of a-teacher to 8 personas" in card(tmp_path, None, personas=8)
    assert "answers of a-teacher to 1 persona," in card(tmp_path, None, personas=1)


def test_text_of_a_config_breaks_no_structure(tmp_path: Path) -> None:
    assert "answers: how is | the mood?\n" in card(tmp_path, None)
