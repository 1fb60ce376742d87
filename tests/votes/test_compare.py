"""The comparison counts abstentions as wrong, and says what answers that err together are worth."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Xpoll
from tests.support.example_run import make_run
from xpoll.core.config.file import load_config
from xpoll.core.records import Vote
from xpoll.scripts.commands.vote import show_comparison
from xpoll.votes.ballots import Ballots, ballots_of
from xpoll.votes.compare import compare, compare_labels, effective_votes
from xpoll.votes.methods.registry import METHODS

LABELS = ["no", "yes"]


@pytest.fixture
def quick_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """crowd-kit's methods take seconds whatever they count; they stay in the list, and count as the majority does."""
    for name in ("dawid_skene", "mace", "glad"):
        monkeypatch.setitem(METHODS, name, replace(METHODS[name], function=METHODS["majority"].function))


def asked(answers: dict[str, list[str]]) -> Ballots:
    """Persona to one string a document; its letters n and y are the samples."""
    votes = [
        Vote(f"d{i}", persona, sample, {"n": "no", "y": "yes"}[letter])
        for persona, documents in answers.items()
        for i, said in enumerate(documents)
        for sample, letter in enumerate(said)
    ]
    return ballots_of([f"d{i}" for i in range(4)], votes, LABELS)


@pytest.mark.usefixtures("quick_methods")
def test_an_abstention_is_wrong_and_counted() -> None:
    ballots = asked({"a": ["y", "n", "n", "n"], "b": ["n", "n", "n", "y"]})
    found = compare(ballots, np.array([1, 0, 1, -1]), method="majority")
    majority = found["methods"][0]
    assert (majority["method"], majority["abstained"], majority["coverage"]) == ("majority", 2, 0.5)
    assert (majority["right"], majority["accuracy"]) == (1, pytest.approx(1 / 3))
    assert found["gold_rows"] == 3


@pytest.mark.usefixtures("quick_methods")
def test_each_persona_is_worth_what_is_lost_without_it() -> None:
    ballots = asked({"a": ["y", "n", "y", "n"], "b": ["y", "n", "y", "n"], "c": ["n", "y", "y", "n"]})
    a, _, c = compare(ballots, np.array([1, 0, 1, 0]), method="majority")["personas"]
    assert (a["accuracy"], a["marginal_accuracy"]) == (1.0, 0.5)  # without it two documents are ties
    assert (c["accuracy"], c["marginal_accuracy"], c["labels_changed"]) == (0.5, 0.0, 0.0)


@pytest.mark.usefixtures("quick_methods")
def test_one_persona_asked_again_is_held_against_another_asked_once() -> None:
    ballots = asked({"a": ["yy", "nn", "nn", "nn"], "b": ["yy", "yy", "yy", "nn"]})
    equal = compare(ballots, np.array([1, 0, 1, 0]), method="majority")["equal_answers"]
    assert equal == {
        "answers": 2,
        "one_persona": 0.75,
        "by_persona": {"a": 0.75, "b": 0.75},
        "different_personas": 0.5,
    }
    assert compare(ballots, np.array([1, 0, 1, 0]), method="majority", cut=True)["equal_answers"] is None


@pytest.mark.parametrize(("correlation", "worth"), [(0.0, 3.0), (0.5, 1.5), (1.0, 1.0)])
def test_votes_that_err_together_are_worth_fewer(correlation: float, worth: float) -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, 6000)
    right = draw.random((6000, 3)) < 0.8
    right = np.where(draw.random((6000, 1)) < correlation, right[:, :1], right)
    answers = np.where(right, truth[:, None], 1 - truth[:, None])
    documents, samples = np.indices(answers.shape)
    columns = (documents.ravel(), 0 * samples.ravel(), answers.ravel())
    ballots = Ballots(LABELS, ["a"], 6000, *columns, sample_of=samples.ravel())
    found = effective_votes(ballots, truth, ["a"])
    assert found is not None
    assert found["effective"] == pytest.approx(worth, rel=0.08)
    third_where_needed = (samples < 2) | (answers[:, :1] != answers[:, 1:2])
    cut = effective_votes(ballots.only(third_where_needed.ravel()), truth, ["a"], cut=True)
    assert cut is not None
    assert cut["correlation"] == pytest.approx(found["correlation"], abs=0.04)


def test_a_run_is_compared_with_one_command(tmp_path: Path, xpoll: Xpoll) -> None:
    make_run(tmp_path / "run", f"job.run_folder={tmp_path}/run")
    before = sorted(tmp_path.rglob("*"))
    done = xpoll("vote", "--compare", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    methods = {row["method"]: row for row in found["methods"]}
    assert methods["calibrated"]["accuracy"] > methods["majority"]["accuracy"] + 0.1
    assert len(found["personas"]) == 6
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("quick_methods")
def test_without_gold_labels_nothing_is_measured_but_agreement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "run", gold=False)
    found = compare_labels(folder, load_config(tmp_path / "run"))
    assert found["effective_votes"] is None
    assert all(row["accuracy"] is None for row in found["methods"] if not row["left_out"])
    assert all(row["marginal_accuracy"] is None and row["labels_changed"] >= 0 for row in found["personas"])
    show_comparison(found, as_json=False)
    assert "not measured" in capsys.readouterr().out
