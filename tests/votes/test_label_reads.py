"""Labels that are each read by themselves: from probabilities to sets, with and without the model's yes-bias."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import Xpoll
from tests.votes.test_task_kinds import MULTI, TOPICS, config_of
from xpoll.core.errors import ConfigError, InputError
from xpoll.core.questions import fitting
from xpoll.core.records import SET_VOTE_SCHEMA, Completion, Document, SetConsensus, SetVote, from_table, to_table
from xpoll.votes.check import MOST_QUESTIONS, check_votes
from xpoll.votes.label_sets import set_consensus_of
from xpoll.votes.parse import to_set_vote
from xpoll.votes.unread import is_written, written_line

READ = "panel.answer=read"


def completion(*yes: float, text: str | None = None) -> Completion:
    logprobs = tuple(map(math.log, yes))
    return Completion("d", "p", 0, text or fitting(TOPICS[: len(yes)], logprobs), choice_logprobs=logprobs)


def vote(document_id: str, persona_id: str, *yes: float) -> SetVote:
    labels = tuple(label for label, share in zip(TOPICS, yes, strict=True) if share > 0.5)
    return SetVote(document_id, persona_id, 0, labels, probabilities=yes)


def test_an_answer_is_the_labels_above_one_half_with_a_probability_for_each() -> None:
    found = to_set_vote(completion(0.9, 0.2, 0.6), TOPICS)
    assert found.labels == ("price", "quality")
    assert found.probabilities == pytest.approx((0.9, 0.2, 0.6))
    nothing = to_set_vote(completion(0.1, 0.2, 0.5), TOPICS)
    assert (nothing.labels, nothing.unparsable) == ((), None)


@pytest.mark.parametrize(
    "answer",
    [
        completion(0.9, 0.2),
        Completion("d", "p", 0, "[]", choice_logprobs=(0.5, -1.0, -1.0)),
        Completion("d", "p", 0, "[]", choice_logprobs=(float("nan"), -1.0, -1.0)),
    ],
)
def test_other_numbers_than_a_probability_for_each_label_are_no_vote(answer: Completion) -> None:
    found = to_set_vote(answer, TOPICS)
    assert (found.labels, found.unparsable, found.probabilities) == (None, "not one probability per label", None)


def test_probabilities_pass_through_a_file_and_one_without_them_is_read() -> None:
    votes = [vote("1", "a", 0.9, 0.2, 0.6), SetVote("1", "b", 0, ("price",)), SetVote("2", "a", 0, None, "empty")]
    table = to_table(votes, SET_VOTE_SCHEMA)
    assert from_table(table, SetVote) == votes
    earlier = from_table(table.drop_columns(["probabilities"]), SetVote)
    assert [each.probabilities for each in earlier] == [None] * 3


def test_shares_are_mean_probabilities_and_an_answer_in_words_makes_them_counts(tmp_path: Path) -> None:
    documents = [Document("1", "", "train"), Document("2", "", "train")]
    votes = [vote("1", "a", 0.9, 0.4, 0.2), vote("1", "b", 0.3, 0.5, 0.2)]
    config = config_of(tmp_path, MULTI, READ)
    one, silent = set_consensus_of(documents, votes, config)
    assert one.shares == pytest.approx((0.6, 0.45, 0.2))
    assert one.labels == ("price",)
    assert silent.abstained == "no readable vote"
    mixed = [*votes, SetVote("2", "a", 0, ("service",))]
    one, written = set_consensus_of(documents, mixed, config)
    assert (one.shares, one.undecided, written.labels) == ((0.5, 0.0, 0.0), ("price",), ("service",))
    assert [is_written(vote) for vote in mixed].count(True) == 1
    assert "1 of 3 answers" in str(written_line(1, of=3))
    assert not any(map(is_written, votes))
    assert written_line(0, of=2) is None
    with pytest.raises(InputError, match=r"1 of 3 votes have none -> --set vote.method=majority"):
        set_consensus_of(documents, mixed, config_of(tmp_path, MULTI, READ, "vote.method=calibrated"))


def biased(texts: int, labels: int, *, strength: float, seed: int) -> tuple[list[SetVote], np.ndarray]:
    """Votes of a model that says yes too readily, to some labels more than to others; and what is true."""
    draw = np.random.default_rng(seed)
    truth = draw.random((texts, labels)) < draw.uniform(0.02, 2 / labels, labels)
    bias = 2 + 1.5 * draw.normal(size=labels)
    log_odds = bias + strength * (2 * truth - 1) + draw.normal(size=truth.shape)
    yes = 1 / (1 + np.exp(-log_odds))
    votes = [SetVote(str(i), "a", 0, (), probabilities=tuple(row)) for i, row in enumerate(yes.tolist())]
    return votes, truth


@pytest.mark.parametrize(("strength", "at_least"), [(2, 0.6), (4, 0.85)])
def test_calibration_takes_out_what_is_said_of_a_label_whatever_the_text(
    tmp_path: Path, strength: float, at_least: float
) -> None:
    from xpoll.votes.compare_sets import set_scores
    from xpoll.votes.label_sets import shares_of_sets

    votes, truth = biased(300, 24, strength=strength, seed=3)
    ids, names = [each.document_id for each in votes], [str(number) for number in range(24)]
    scores = {}
    for method in ("majority", "calibrated"):
        shares = shares_of_sets(ids, votes, names, method, correlation=0.5)
        scores[method] = set_scores(shares, truth.astype(int))["f1_micro"]
    assert scores["calibrated"] > at_least > scores["majority"] + 0.2


def test_each_persona_has_a_bias_of_its_own(tmp_path: Path) -> None:
    sober, _ = biased(200, 3, strength=3, seed=1)
    votes = [each._replace(document_id=f"t{each.document_id}") for each in sober]
    eager = [
        each._replace(persona_id="b", probabilities=tuple(p / (p + (1 - p) / 20) for p in each.probabilities or ()))
        for each in votes
    ]
    documents = [Document(each.document_id, "", "train") for each in votes]
    config = config_of(tmp_path, MULTI, READ, "vote.method=calibrated")
    alone, both = (set_consensus_of(documents, cast, config) for cast in (votes, [*votes, *eager]))
    assert [row.shares for row in both] == [pytest.approx(row.shares, abs=1e-4) for row in alone]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("vote.method=confidence_weighted", "vote.method"),
        ("panel.samples=2", "samples must be 1"),
        ("panel.answer=match", "cannot be asked with panel.answer = 'match'"),
    ],
)
def test_what_sets_that_are_read_do_not_know_is_refused(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_votes(config_of(tmp_path, MULTI, READ, "panel.personas=['annotator']", override))
    assert said in str(raised.value)


def test_a_text_has_at_most_so_many_questions(tmp_path: Path) -> None:
    for number in (MOST_QUESTIONS, MOST_QUESTIONS + 1):
        labels = f"task.labels={[f'label {i}' for i in range(number)]}"
        config = config_of(tmp_path, MULTI, READ, "task.examples=[]", labels)
        if number == MOST_QUESTIONS:
            check_votes(config)
        else:
            with pytest.raises(ConfigError, match=r"at most 128 labels by itself, got 129 -> --set panel.answer=label"):
                check_votes(config)


@pytest.mark.engine
def test_sets_are_read_from_a_simulated_engine_and_replayed(tmp_path: Path, xpoll: Xpoll) -> None:
    (tmp_path / "job.toml").write_text(MULTI.replace("answers.csv", "run/completions"))
    (tmp_path / "texts.csv").write_text("id,text\n" + "".join(f"t{i},Text {i}.\n" for i in range(40)))
    (tmp_path / "gold.csv").write_text("id,text,label\nc,Good and cheap.,quality|price\n")
    read = ["--set", READ, "--set", "vote.method=calibrated"]
    simulated = [*read, "--set", "engine.backend=simulated", "--set", "engine.simulated.time_scale=0"]
    for step in ("poll", "vote"):
        done = xpoll(step, "job.toml", *simulated, cwd=tmp_path, timeout_s=180)
        assert done.returncode == 0, done.stderr
    assert "uncached prompt tokens a label" in done.stderr
    votes = from_table(pq.read_table(tmp_path / "run/votes.parquet"), SetVote)
    assert len(votes) == 41 * 3
    assert all(each.probabilities is not None and len(each.probabilities) == 3 for each in votes)
    replayed = [*read, "--set", "job.run_folder=again"]
    for step in ("poll", "vote"):
        done = xpoll(step, "job.toml", *replayed, cwd=tmp_path, timeout_s=180)
        assert done.returncode == 0, done.stderr

    def sets(name: str) -> list[SetConsensus]:
        return from_table(pq.read_table(tmp_path / name / "labels.parquet"), SetConsensus)

    assert sets("again") == sets("run")
    compared = json.loads(xpoll("vote", "job.toml", *replayed, "--compare", "--json", cwd=tmp_path).stdout)
    assert {"majority", "calibrated"} <= {row["method"] for row in compared["methods"]}
