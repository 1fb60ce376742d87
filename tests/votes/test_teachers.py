"""Votes of several models: answers of one are dependent, and a model is one voice however often it is asked."""

import numpy as np
import pytest

from xpoll.core.records import Vote
from xpoll.votes.ballots import Ballots, ballots_of
from xpoll.votes.compare_teachers import compare_teachers
from xpoll.votes.consensus import winners
from xpoll.votes.methods.counting import majority
from xpoll.votes.methods.posterior import fit, posterior
from xpoll.votes.methods.registry import METHODS

LABELS = ["no", "yes"]


def vote(document: int, teacher: str | None, label: str, sample: int = 0, share: float | None = None) -> Vote:
    named = None if share is None else ((share, 1 - share) if label == "no" else (1 - share, share))
    return Vote(f"d{document}", "annotator", sample, label, None, share, named, None, teacher)


def ballots(votes: list[Vote], documents: int) -> Ballots:
    return ballots_of([f"d{i}" for i in range(documents)], votes, LABELS)


def test_a_persona_of_two_models_is_two_voters() -> None:
    found = ballots([vote(0, "a", "no"), vote(0, "b", "yes")], 1)
    assert found.persona_ids == ["a/annotator", "b/annotator"]
    assert found.teacher_ids == ("a", "b")
    assert found.teacher_of is not None and found.teacher_of.tolist() == [0, 1]
    assert ballots([vote(0, None, "no")], 1).teacher_of is None


@pytest.mark.parametrize("method", ["majority", "confidence_weighted", "calibrated"])
def test_a_model_that_is_asked_more_often_is_one_voice(method: str) -> None:
    """Ten answers of one model and one of another: neither outvotes the other."""
    documents = [("no", "yes"), ("yes", "no")]
    cast = [vote(i, "a", often, sample, 0.9) for i, (often, _) in enumerate(documents) for sample in range(10)]
    cast += [vote(i, "b", once, 0, 0.9) for i, (_, once) in enumerate(documents)]
    assert METHODS[method](ballots(cast, 2)) == pytest.approx(np.full((2, 2), 0.5))


def test_a_text_that_one_model_does_not_answer_is_the_other_s() -> None:
    shares = majority(ballots([vote(0, "a", "no"), vote(1, "a", "no"), vote(1, "b", "yes")], 3))
    assert shares[0].tolist() == [1, 0]
    assert shares[1].tolist() == [0.5, 0.5]
    assert np.isnan(shares[2]).all()


def test_a_model_without_logprobs_counts_by_its_labels() -> None:
    """`calibrated` would otherwise leave out a recorded teacher that has labels alone."""
    cast = [vote(i, "a", "no" if i % 2 else "yes", share=0.51) for i in range(40)]
    cast += [vote(i, "b", "no" if i % 4 < 2 else "yes") for i in range(40)]
    found = winners(METHODS["calibrated"](ballots(cast, 40)))
    assert found.tolist() == [0 if i % 4 < 2 else 1 for i in range(40)]


def drawn(seed: int, documents: int, accuracies: dict[str, float], samples: int) -> tuple[list[Vote], np.ndarray]:
    """Each model has one opinion of a text, and repeats it in every answer."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, documents)
    cast = []
    for teacher, accuracy in accuracies.items():
        said = np.where(rng.random(documents) < accuracy, truth, 1 - truth)
        cast += [vote(i, teacher, LABELS[said[i]], sample) for i in range(documents) for sample in range(samples)]
    return cast, truth


def test_agreement_of_unlike_models_says_more_than_that_of_one() -> None:
    """Four equal answers of one model are one opinion; two of each of two models are two."""
    one = [vote(0, "a", "no", sample) for sample in range(4)]
    two = [vote(0, teacher, "no", sample) for teacher in "ab" for sample in range(2)]
    others = [each for each in drawn(3, 400, {"a": 0.8, "b": 0.8}, 2)[0] if each.document_id != "d0"]
    sure_of_one, sure_of_two = (posterior(ballots([*cast, *others], 400))[0, 0] for cast in (one, two))
    assert 1 - sure_of_two < (1 - sure_of_one) / 2


def test_one_teacher_with_a_name_is_one_without() -> None:
    cast, _ = drawn(0, 200, {"a": 0.8}, 3)
    named, unnamed = (ballots([each._replace(teacher=name) for each in cast], 200) for name in ("a", None))
    for method in ("majority", "posterior", "reliability_weighted", "dawid_skene"):
        assert METHODS[method](named) == pytest.approx(METHODS[method](unnamed), abs=1e-9), method


def test_the_posterior_finds_the_better_model() -> None:
    cast, truth = drawn(1, 600, {"good": 0.92, "fair": 0.8, "poor": 0.6}, 3)
    found = ballots(cast, 600)
    right = dict(zip(found.persona_ids, fit(found).right, strict=True))
    assert right["good/annotator"] > right["fair/annotator"] > right["poor/annotator"]
    accuracy = (winners(posterior(found)) == truth).mean()
    assert accuracy >= (winners(majority(found.of_teacher(1))) == truth).mean() - 0.01, "the best one alone"


def test_the_comparison_says_what_each_model_adds() -> None:
    cast, truth = drawn(2, 400, {"fair": 0.8, "good": 0.95, "poor": 0.6}, 1)
    found = ballots(cast, 400)
    rows = {row["teacher"]: row for row in compare_teachers(found, truth, "majority", winners)}
    whole = (winners(majority(found)) == truth).mean()
    assert rows["good"]["accuracy"] == pytest.approx(0.95, abs=0.03)
    assert rows["good"]["adds"] > rows["fair"]["adds"] > rows["poor"]["adds"]
    for row in rows.values():
        assert row["adds"] == pytest.approx(whole - row["accuracy_without"])
        assert row["votes"] == 400
    assert compare_teachers(ballots(cast[:400], 400), truth, "majority", winners) == []
    no_gold = compare_teachers(ballots(cast, 400), np.full(400, -1), "majority", winners)
    assert [row["adds"] for row in no_gold] == [None] * 3
