"""The same run gives the same word on terminal, page, Markdown and model card."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.support.example_run import LABELS, make_run
from tests.support.page import Page
from tests.support.toy import a_training
from xpoll.core.files import read_json, write_json
from xpoll.core.records import Consensus
from xpoll.core.run_folder import RunFolder
from xpoll.report.markdown import write_markdown
from xpoll.report.metrics import read_metrics
from xpoll.report.page import write_report
from xpoll.scripts.commands.status import show_metrics
from xpoll.student.card import EnergyUsed, write_card
from xpoll.student.evaluate import evaluate
from xpoll.student.evaluation import Evaluation, Word
from xpoll.student.wording import verdict_sentence

TRAINING = a_training(label_counts={"negative": 100, "neutral": 50, "positive": 10}).model_dump(mode="json")


class Situation(NamedTuple):
    """Gold rows by label, how many of them teacher and student have right, and the word that follows."""

    gold: tuple[int, int, int]
    teacher_right: int
    student_right: int
    word: Word
    constant: bool = False


SITUATIONS = {
    "constant classifier on a 92 % majority": Situation((20, 460, 20), 490, 460, "do not use", constant=True),
    "too few gold rows": Situation((4, 4, 4), 12, 12, "label more gold rows"),
    "weak teacher": Situation((70, 70, 60), 140, 136, "fix the teacher"),
    "good student": Situation((100, 100, 100), 283, 280, "ship"),
    "student above its teacher": Situation((100, 100, 100), 264, 288, "ship"),
    "no gold": Situation((0, 0, 0), 0, 0, "not measured"),
}


class FixedStudent:
    """Answers what it was told to."""

    labels = LABELS

    def __init__(self, answers: Sequence[str]) -> None:
        self._answers = answers

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        assert len(texts) == len(self._answers)
        return np.array([[0.8 if label == answer else 0.1 for label in LABELS] for answer in self._answers])


def evaluated(situation: Situation) -> Evaluation:
    """The evaluation of such a run, as the step computes it; the rows that are right are the first ones."""
    truth = [label for label, count in zip(LABELS, situation.gold, strict=True) for _ in range(count)]
    wrong = {label: LABELS[i - 1] for i, label in enumerate(LABELS)}

    def answers(right: int) -> list[str]:
        return [label if i < right else wrong[label] for i, label in enumerate(truth)]

    voted = answers(situation.teacher_right)
    rows = [
        Consensus(str(i), "gold", f"text {i}", label, (0.1, 0.8, 0.1), 0.8, 3, 0, 1.0, None, label, truth[i])
        for i, label in enumerate(voted)
    ]
    given = ["neutral"] * len(truth) if situation.constant else answers(situation.student_right)
    return evaluate(rows, LABELS, FixedStudent(given))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = make_run(tmp_path_factory.mktemp("run"))
    write_json(folder.student / "training.json", TRAINING)
    return folder


def places(folder: RunFolder, evaluation: Evaluation | None, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The four texts in which a verdict stands."""
    show_metrics(folder, as_json=False)
    config, energy = read_json(folder.config), EnergyUsed(None, "none")
    return {
        "terminal": capsys.readouterr().out,
        "page": write_report(folder).read_text(encoding="utf-8"),
        "markdown": write_markdown(folder).read_text(encoding="utf-8"),
        "card": write_card(folder.student, config, evaluation, personas=6, energy=energy).read_text(encoding="utf-8"),
    }


WORD_IN = {
    "terminal": r"^verdict: (.+?)\. ",
    "page": r'<p class="words"><strong>(.+?)</strong></p>',
    "markdown": r"^## Verdict\n\n\*\*(.+?)\*\*\. ",
    "card": r"^Verdict: \*\*(.+?)\*\*\. ",
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_one_word_on_terminal_page_markdown_and_card(
    run: RunFolder, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = evaluated(SITUATIONS[name])
    write_json(run.evaluation, evaluation.as_json())
    scores = {"verdict": evaluation.verdict.word, "teacher": evaluation.teacher, "student": evaluation.student}
    write_json(run.metrics, read_metrics(run).model_copy(update=scores).as_json())
    texts = places(run, evaluation, capsys)
    words = {place: re.findall(pattern, texts[place], re.MULTILINE) for place, pattern in WORD_IN.items()}
    assert words == {place: [SITUATIONS[name].word] for place in WORD_IN}
    sentence = verdict_sentence(evaluation)
    assert sentence in texts["terminal"] and sentence in texts["card"]
    assert sentence in texts["markdown"].replace("\\", "") and sentence in Page(run.report).text
    assert read_json(run.metrics)["verdict"] == SITUATIONS[name].word


def test_a_run_that_is_not_evaluated_says_so_in_all_four(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(tmp_path, gold=False)
    write_json(folder.student / "training.json", TRAINING)
    texts = places(folder, None, capsys)
    for place, pattern in WORD_IN.items():
        assert re.findall(pattern, texts[place], re.MULTILINE) == ["not measured"], place


def test_the_figures_of_the_situations_are_what_their_names_say() -> None:
    found = {name: evaluated(situation) for name, situation in SITUATIONS.items()}
    constant = found["constant classifier on a 92 % majority"]
    assert constant.student is not None and constant.most_frequent is not None
    assert constant.student.accuracy == constant.most_frequent.share == 0.92
    assert found["weak teacher"].teacher is not None and found["weak teacher"].teacher.accuracy == 0.7
    assert "student above its teacher" in found["student above its teacher"].verdict.reasons
    assert found["no gold"].verdict.reasons == ("no gold rows",)
