"""What every method promises, and what each of them is there for."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from xpoll.core.errors import InputError
from xpoll.core.records import Vote
from xpoll.core.statistics import expected_calibration_error
from xpoll.votes.ballots import Ballots, Shares, ballots_of
from xpoll.votes.consensus import shares_of, winners
from xpoll.votes.methods import posterior as model
from xpoll.votes.methods.recalibration import fitted_recalibration
from xpoll.votes.methods.registry import METHODS

LABELS = ["negative", "neutral", "positive"]
THROUGH_CROWD_KIT = {"dawid_skene", "mace", "glad"}
needs_crowd_kit = pytest.mark.skipif(not find_spec("crowdkit"), reason="crowd-kit is not installed")
OWN = sorted(METHODS.keys() - THROUGH_CROWD_KIT)
EVERY = [*OWN, *(pytest.param(name, marks=needs_crowd_kit) for name in sorted(THROUGH_CROWD_KIT))]


@st.composite
def polls(draw: st.DrawFn) -> list[Vote]:
    """Votes of up to three personas about up to five documents, some unreadable, all readable ones with logprobs."""
    votes = []
    for document in range(draw(st.integers(1, 5))):
        for persona in draw(st.sets(st.sampled_from("abc"))):
            for sample in range(draw(st.integers(1, 3))):
                label = draw(st.sampled_from([*LABELS, None]))
                shares = draw(st.sampled_from([(0.1, 0.2, 0.7), (0.6, 0.3, 0.1), (0.3, 0.4, 0.3)]))
                votes.append(Vote(f"d{document}", persona, sample, label, distribution=shares if label else None))
    return votes


def counted(votes: Sequence[Vote], method: str, labels: Sequence[str] = LABELS, documents: int = 5) -> Shares:
    even = [Vote("probe", persona, 0, labels[0], distribution=(1 / len(labels),) * len(labels)) for persona in "abc"]
    return METHODS[method](ballots_of([f"d{i}" for i in range(documents)], votes, labels, probes=even))


def plain(*answers: str, persona: str = "a") -> list[Vote]:
    """One document a string; its letters are the samples of one persona: - negative, 0 neutral, + positive."""
    named = dict(zip("-0+", LABELS, strict=True))
    return [
        Vote(f"d{i}", persona, sample, named[letter])
        for i, said in enumerate(answers)
        for sample, letter in enumerate(said)
    ]


@pytest.mark.parametrize("method", OWN)
@settings(max_examples=25, deadline=None)
@given(votes=polls(), seed=st.integers(0, 9))
def test_every_method_gives_distributions_whatever_the_order_of_the_votes(
    method: str, votes: list[Vote], seed: int
) -> None:
    if any(vote.label is not None for vote in votes):
        check_distributions(method, votes, seed)


@needs_crowd_kit
@pytest.mark.parametrize("method", sorted(THROUGH_CROWD_KIT))
def test_so_do_the_slow_ones(method: str) -> None:
    check_distributions(method, [*plain("+0-", "00", "--+"), *plain("+", "0+", "-", persona="b")], seed=1)


def check_distributions(method: str, votes: list[Vote], seed: int) -> None:
    shares = counted(votes, method)
    voted = {vote.document_id for vote in votes if vote.label is not None}
    assert [not np.isnan(row).any() for row in shares] == [f"d{i}" in voted for i in range(5)]
    seen = shares[~np.isnan(shares[:, 0])]
    assert (seen >= 0).all()
    assert seen.sum(1) == pytest.approx(1)
    shuffled = [votes[i] for i in np.random.default_rng(seed).permutation(len(votes))]
    assert counted(shuffled, method) == pytest.approx(shares, abs=1e-6, nan_ok=True)
    assert (winners(counted(shuffled, method)) == winners(shares)).all()


@pytest.mark.parametrize("method", OWN)
@settings(max_examples=25, deadline=None)
@given(votes=polls(), order=st.permutations(range(3)))
def test_no_label_is_favoured_for_its_place_in_the_list(method: str, votes: list[Vote], order: list[int]) -> None:
    if all(vote.label is None for vote in votes):
        return
    moved = [
        vote._replace(distribution=tuple(vote.distribution[i] for i in order) if vote.distribution else None)
        for vote in votes
    ]
    again = counted(moved, method, [LABELS[i] for i in order])
    assert again == pytest.approx(counted(votes, method)[:, order], abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("method", EVERY)
def test_what_the_votes_leave_even_is_a_tie_and_no_votes_are_no_label(method: str) -> None:
    even = [vote._replace(distribution=(0.5, 0.0, 0.5)) for vote in plain("+-", "-+", "+-", "-+")]
    decided = winners(counted(even, method))
    assert decided.tolist() == [-1] * 5


@pytest.mark.parametrize("method", EVERY)
def test_a_clear_majority_is_kept(method: str) -> None:
    sure = {"-": (0.8, 0.1, 0.1), "0": (0.1, 0.8, 0.1), "+": (0.1, 0.1, 0.8)}
    letters = dict(zip(LABELS, sure, strict=True))
    votes = [v._replace(distribution=sure[letters[str(v.label)]]) for v in plain("+++", "---", "000", "++-", "00-")]
    assert winners(counted(votes, method)).tolist() == [2, 0, 1, 2, 1]


def test_a_confident_answer_outweighs_a_doubtful_one() -> None:
    votes = [
        Vote("d0", "a", 0, "positive", distribution=(0.0, 0.1, 0.9)),
        Vote("d0", "a", 1, "neutral", distribution=(0.2, 0.5, 0.3)),
        Vote("d0", "a", 2, "negative"),  # without logprobs: the mean of the others, 0.7
    ]
    [shares] = counted(votes, "confidence_weighted", documents=1)
    assert shares == pytest.approx(np.array([0.7, 0.5, 0.9]) / 2.1)


@pytest.mark.parametrize("method", ["confidence_weighted", "calibrated", "contextual"])
def test_methods_of_logprobs_refuse_votes_without_any(method: str) -> None:
    with pytest.raises(InputError, match=f"'{method}' needs the answers' logprobs"):
        counted(plain("++"), method)


def simulated(
    num_documents: int, right: Sequence[float], *, samples: int, correlation: float, seed: int = 1
) -> tuple[np.ndarray, Ballots]:
    """Truth and ballots: neutral is frequent; some documents get one opinion, repeated by every answer."""
    draw = np.random.default_rng(seed)
    truth = draw.choice(3, num_documents, p=[0.2, 0.5, 0.3])
    shape = (num_documents, len(right), samples)
    hit = draw.random(shape) < np.array(right)[None, :, None]
    answers = np.where(hit, truth[:, None, None], (truth[:, None, None] + draw.integers(1, 3, shape)) % 3)
    one_opinion = draw.random(num_documents) < correlation
    answers = np.where(one_opinion[:, None, None], answers[:, :1, :1], answers)
    document, persona, _ = np.indices(shape)
    flat = (column.ravel() for column in (document, persona, answers))
    return truth, Ballots(LABELS, [f"p{i}" for i in range(len(right))], num_documents, *flat)


def stopped_when_decided(ballots: Ballots, of: int) -> Ballots:
    """The votes that are asked for when a poll of `of` votes stops as soon as the majority is decided."""
    rows = np.arange(len(ballots.label_of)).reshape(-1, of)
    kept = []
    for votes in rows:
        for asked in range(1, of + 1):
            first, second = sorted(np.bincount(ballots.label_of[votes[:asked]], minlength=3))[:0:-1]
            if first > second + of - asked or asked == of:
                kept.extend(votes[:asked])
                break
    return ballots.only(np.array(kept))


def calibration_error(shares: Shares, truth: np.ndarray) -> float:
    decided = winners(shares)
    kept = decided >= 0
    return expected_calibration_error(shares.max(1)[kept].tolist(), (decided == truth)[kept].tolist())


def told(ballots: Ballots, truth: np.ndarray, documents: int = 300) -> Ballots:
    """With the first documents labelled by a person."""
    return replace(ballots, known=np.where(np.arange(len(truth)) < documents, truth, -1))


def test_two_of_two_is_not_certainty_when_the_stop_rule_cut_votes_off() -> None:
    truth, full = simulated(4000, [0.8], samples=5, correlation=0.5)
    cut = stopped_when_decided(full, 5)
    assert len(cut.label_of) < 0.8 * len(full.label_of)
    assert winners(METHODS["majority"](cut)).tolist() == winners(METHODS["majority"](full)).tolist()
    shares = METHODS["majority"](cut)
    assert calibration_error(shares, truth) > 0.1, "the shares of a cut poll are too sure"
    assert calibration_error(METHODS["posterior"](cut), truth) < calibration_error(shares, truth) - 0.03
    for ballots in (full, cut):
        assert calibration_error(METHODS["posterior"](told(ballots, truth))[300:], truth[300:]) < 0.03


def test_no_number_of_equal_answers_is_surer_than_one_opinion() -> None:
    truth, ballots = simulated(4000, [0.8], samples=9, correlation=0.5)
    unanimous = (ballots.counts().max(1) == 9) & (np.arange(4000) >= 300)
    right = (winners(ballots.counts()) == truth)[unanimous].mean()
    sure = {
        name: METHODS[name](told(ballots, truth))[unanimous].max(1).mean()
        for name in ("reliability_weighted", "posterior")
    }
    assert right < 0.85
    assert sure["reliability_weighted"] > 0.99
    assert sure["posterior"] == pytest.approx(right, abs=0.03)
    assert METHODS["posterior"](ballots)[unanimous].max(1).mean() < 0.97


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_a_wrong_assumption_of_correlation_costs_no_labels(correlation: float) -> None:
    for personas, samples, real in (([0.8], 3, 0.0), ([0.5, 0.7, 0.9], 1, 0.0), ([0.8, 0.7, 0.6], 1, 0.6)):
        truth, ballots = simulated(3000, personas, samples=samples, correlation=real)
        right = (winners(METHODS["posterior"](replace(ballots, correlation=correlation))) == truth).mean()
        assert right > (winners(METHODS["majority"](ballots)) == truth).mean() - 0.005


@pytest.mark.parametrize("method", ["reliability_weighted", "posterior"])
def test_personas_that_know_nothing_are_outvoted_by_those_that_do(method: str) -> None:
    truth, ballots = simulated(2000, [0.85, 0.85, 0.85, 0.34, 0.34, 0.34, 0.34], samples=1, correlation=0.0)
    share = {name: (winners(METHODS[name](ballots)) == truth).mean() for name in ("majority", method)}
    assert share[method] > share["majority"] + 0.1, share


def test_an_adversarial_persona_counts_against_what_it_says() -> None:
    truth, ballots = simulated(2000, [0.8, 0.8, 0.8, 0.02], samples=1, correlation=0.0)
    from_all = winners(METHODS["reliability_weighted"](ballots)) == truth
    without = winners(METHODS["reliability_weighted"](ballots.only(ballots.persona_of < 3))) == truth
    assert from_all.mean() > without.mean()


def test_a_rare_label_does_not_collect_the_errors_about_a_frequent_one() -> None:
    draw = np.random.default_rng(3)
    truth = draw.choice(3, 1000, p=[0.95, 0.025, 0.025])
    hit = draw.random((1000, 5)) < 0.6
    answers = np.where(hit, truth[:, None], (truth[:, None] + draw.integers(1, 3, hit.shape)) % 3)
    document, persona = np.indices(hit.shape)
    ballots = Ballots(LABELS, [f"p{i}" for i in range(5)], 1000, document.ravel(), persona.ravel(), answers.ravel())
    assert (winners(METHODS["majority"](ballots)) == truth).mean() < 0.75
    assert (winners(METHODS["posterior"](ballots)) == truth).mean() > 0.9


def test_confusions_that_are_not_even_are_worth_a_matrix() -> None:
    draw = np.random.default_rng(4)
    truth = draw.choice(3, 2000)
    always_next = np.where(draw.random((2000, 2)) < 0.85, (truth[:, None] + 1) % 3, truth[:, None])
    right = np.where(draw.random((2000, 3)) < 0.7, truth[:, None], (truth[:, None] + 2) % 3)
    document, persona = np.indices((2000, 5))
    columns = (document.ravel(), persona.ravel(), np.hstack([right, always_next]).ravel())
    ballots = Ballots(LABELS, [f"p{i}" for i in range(5)], 2000, *columns)
    one_accuracy = (winners(METHODS["reliability_weighted"](ballots)) == truth).mean()
    assert (winners(METHODS["posterior"](ballots)) == truth).mean() > one_accuracy + 0.03


def test_labels_that_people_gave_show_how_far_the_answers_err_together() -> None:
    truth, ballots = simulated(2000, [0.8], samples=3, correlation=0.8)
    assert model.fit(ballots).correlation == 0.5, "without known labels it is an assumption"
    assert model.fit(told(ballots, truth)).correlation == pytest.approx(0.8, abs=0.07)
    assert (METHODS["posterior"](told(ballots, truth)).argmax(1) == truth)[:300].all()


def test_the_learnt_accuracy_of_a_persona_is_its_accuracy() -> None:
    _, ballots = simulated(3000, [0.9, 0.7, 0.5], samples=2, correlation=0.0)
    assert model.fit(replace(ballots, correlation=0.0)).right == pytest.approx([0.9, 0.7, 0.5], abs=0.03)


@needs_crowd_kit
def test_the_one_coin_model_is_crowd_kit_s() -> None:
    from crowdkit.aggregation import OneCoinDawidSkene

    _, ballots = simulated(150, [0.9, 0.8, 0.7, 0.6, 0.3], samples=1, correlation=0.0)
    theirs = OneCoinDawidSkene(n_iter=60, tol=0).fit_predict_proba(answers_of(ballots)).sort_index()[[0, 1, 2]]
    assert METHODS["reliability_weighted"](ballots) == pytest.approx(theirs.to_numpy(), abs=1e-3)


@needs_crowd_kit
def test_without_correlation_the_posterior_agrees_with_crowd_kit_s_dawid_skene() -> None:
    _, ballots = simulated(3000, [0.9, 0.7, 0.5], samples=2, correlation=0.0)
    ours, theirs = METHODS["posterior"](replace(ballots, correlation=0.0)), METHODS["dawid_skene"](ballots)
    assert (winners(ours) == winners(theirs)).mean() > 0.99
    assert np.abs(ours - theirs).mean() < 0.01


@needs_crowd_kit
def test_mace_from_an_even_start_ends_where_crowd_kit_s_own_start_does() -> None:
    from crowdkit.aggregation import MACE

    _, ballots = simulated(300, [0.9, 0.7, 0.5], samples=1, correlation=0.0)
    theirs = MACE(n_restarts=1).fit_predict_proba(answers_of(ballots)).sort_index()[[0, 1, 2]].to_numpy()
    assert METHODS["mace"](ballots) == pytest.approx(theirs, abs=0.02)


def answers_of(ballots: Ballots):  # type: ignore[no-untyped-def]
    import pandas

    return pandas.DataFrame({"task": ballots.document_of, "worker": ballots.persona_of, "label": ballots.label_of})


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), labels=st.integers(2, 5))
def test_recalibration_changes_how_sure_but_never_what(seed: int, labels: int) -> None:
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.full(labels, 0.3), 200).round(2)
    shares /= shares.sum(1, keepdims=True)
    shares[0] = np.nan
    truth = draw.integers(-1, labels, 200)
    changed = fitted_recalibration(shares, truth).applied(shares)
    assert winners(changed).tolist() == winners(shares).tolist()
    assert np.isnan(changed[0]).all()
    assert changed[1:].sum(1) == pytest.approx(1)
    assert (changed[1:] >= 0).all()


def test_recalibration_learns_from_one_half_what_holds_in_the_other() -> None:
    truth, ballots = simulated(4000, [0.8], samples=5, correlation=0.7)
    shares = METHODS["dawid_skene" if find_spec("crowdkit") else "reliability_weighted"](ballots)
    learnt = fitted_recalibration(shares[:2000], truth[:2000])
    assert calibration_error(shares[2000:], truth[2000:]) > 0.1
    assert calibration_error(learnt.applied(shares)[2000:], truth[2000:]) < 0.03


def test_known_labels_do_not_make_a_method_trust_itself_for_repeating_them() -> None:
    truth, ballots = simulated(2000, [0.6], samples=3, correlation=0.9)
    shares = shares_of(told(ballots, truth), "posterior")[300:]
    assert calibration_error(shares, truth[300:]) < 0.06


def test_voting_loads_neither_pandas_nor_crowd_kit() -> None:
    heavy = ("pandas", "crowdkit", "scipy")
    code = f"import sys, xpoll.votes.consensus; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
