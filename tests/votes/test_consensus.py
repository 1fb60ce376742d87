"""Votes are counted, ties abstain, and a bias that all answers share is removed."""

from pathlib import Path

import numpy as np
import pytest

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import InputError
from xpoll.core.records import Document, Vote
from xpoll.votes import consensus
from xpoll.votes.ballots import Ballots, Shares
from xpoll.votes.consensus import ROWS_AT_ONCE, consensus_of, consensus_rows, shares_of, winners
from xpoll.votes.methods.method import VoteMethod

LABELS = ["negative", "neutral", "positive"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    text = f'[documents]\npath = "t.csv"\n[task]\nlabels = {LABELS}\n[panel]\npersonas = ["a", "b"]\nsamples = 2\n'
    (tmp_path / "job.toml").write_text(text)
    return load_config(tmp_path / "job.toml")


def votes(document_id: str, *labels: str | None) -> list[Vote]:
    return [Vote(document_id, "a", sample, label) for sample, label in enumerate(labels)]


def documents(*ids: str) -> list[Document]:
    return [Document(document_id, f"text of {document_id}", "train") for document_id in ids]


def test_the_label_with_most_votes_wins_with_its_share_as_confidence(config: Config) -> None:
    [row] = consensus_of(documents("d"), votes("d", "positive", "positive", "neutral", "positive"), config)
    assert (row.label, row.raw_label, row.abstained) == ("positive", "positive", None)
    assert row.distribution == (0.0, 0.25, 0.75)
    assert (row.confidence, row.agreement, row.votes_counted, row.votes_saved) == (0.75, 0.75, 4, 0)


def test_a_tie_abstains(config: Config) -> None:
    [row] = consensus_of(documents("d"), votes("d", "positive", "negative", "positive", "negative"), config)
    assert (row.label, row.raw_label, row.abstained) == (None, None, "tie")


def test_unreadable_votes_do_not_count_and_without_any_the_document_abstains(config: Config) -> None:
    rows = consensus_of(documents("d", "e", "f"), votes("d", None, "neutral") + votes("e", None, None), config)
    assert [row.label for row in rows] == ["neutral", None, None]
    assert [row.votes_counted for row in rows] == [1, 0, 0]
    assert [row.votes_saved for row in rows] == [2, 2, 4]
    assert [row.agreement for row in rows] == [1, 0, 0]
    assert rows[1].abstained == "no readable vote"
    assert sum(rows[1].distribution) == pytest.approx(1)


def test_documents_keep_their_order_and_text(config: Config) -> None:
    rows = consensus_of(documents("z", "a"), votes("a", "neutral") + votes("z", "positive"), config)
    assert [(row.document_id, row.text, row.label) for row in rows] == [
        ("z", "text of z", "positive"),
        ("a", "text of a", "neutral"),
    ]


def test_documents_may_come_one_by_one_and_are_more_than_one_table_holds(config: Config) -> None:
    many = documents(*(f"d{i}" for i in range(ROWS_AT_ONCE + 3)))
    rows = list(consensus_rows(iter(many), votes("d1", "negative") + votes(f"d{ROWS_AT_ONCE}", "neutral"), config))
    assert [row.document_id for row in rows] == [document.document_id for document in many]
    assert {row.document_id: row.label for row in rows if row.label} == {"d1": "negative", "d8192": "neutral"}


def test_the_largest_share_wins_by_more_than_rounding_and_else_nobody() -> None:
    shares = [[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.4, 0.4 + 1e-12, 0.2], [0.4, 0.4 + 1e-6, 0.2], [np.nan] * 3]
    assert winners(np.array(shares)).tolist() == [1, -1, -1, 1, -1]


def biased_votes(bias: np.ndarray, count: int = 60) -> tuple[list[Document], list[Vote]]:
    """Each third of the documents is of one label; every answer adds the same bias to the truth's logits."""
    cast, texts = [], []
    for number in range(count):
        logits = 2.0 * np.eye(3)[number % 3] + bias
        shares = tuple((np.exp(logits) / np.exp(logits).sum()).tolist())
        label = LABELS[int(np.argmax(shares))]
        texts.append(Document(f"d{number}", "", "train"))
        cast += [Vote(f"d{number}", persona, 0, label, distribution=shares) for persona in ("a", "b")]
    return texts, cast


def test_calibration_removes_a_bias_that_hides_the_truth(config: Config) -> None:
    texts, cast = biased_votes(np.array([0.0, 0.0, 5.0]))
    truth = [LABELS[number % 3] for number in range(len(texts))]
    calibrated = config.model_copy(update={"vote": config.vote.model_copy(update={"method": "calibrated"})})
    raw = [row.label for row in consensus_of(texts, cast, config)]
    mended = consensus_of(texts, cast, calibrated)
    assert set(raw) == {"positive"}
    assert [row.label for row in mended] == truth
    assert [row.raw_label for row in mended] == raw
    assert all(sum(row.distribution) == pytest.approx(1) for row in mended)


def test_known_priors_move_the_labels_that_are_in_doubt(config: Config) -> None:
    texts, cast = biased_votes(np.zeros(3))
    cast += [Vote("doubt", "a", 0, "neutral", distribution=(0.2, 0.4, 0.4))]
    texts = [*texts, Document("doubt", "", "train")]

    def label_of_doubt(priors: dict[str, float] | None) -> str | None:
        task = config.task.model_copy(update={"label_priors": priors})
        vote = config.vote.model_copy(update={"method": "calibrated"})
        return consensus_of(texts, cast, config.model_copy(update={"task": task, "vote": vote}))[-1].label

    assert label_of_doubt({"negative": 0.1, "neutral": 0.8, "positive": 0.1}) == "neutral"
    assert label_of_doubt({"negative": 0.1, "neutral": 0.1, "positive": 0.8}) == "positive"


def test_calibration_without_logprobs_is_refused(config: Config) -> None:
    calibrated = config.model_copy(update={"vote": config.vote.model_copy(update={"method": "calibrated"})})
    with pytest.raises(InputError, match="needs the answers' logprobs"):
        consensus_of(documents("d"), votes("d", "positive"), calibrated)


@pytest.mark.parametrize("method", ["majority", "reliability_weighted", "posterior"])
def test_without_any_readable_vote_every_document_abstains(config: Config, method: str) -> None:
    learning = config.model_copy(update={"vote": config.vote.model_copy(update={"method": method})})
    rows = consensus_of(documents("d", "e"), votes("d", None), learning)
    assert [(row.label, row.abstained) for row in rows] == [(None, "no readable vote")] * 2


def test_a_person_s_label_stands_in_place_of_the_voted_one_and_both_are_kept(config: Config) -> None:
    cast = votes("d", "positive") + votes("e", "positive")
    rows = consensus_of(documents("d", "e", "f"), cast, config, reviewed={"d": "neutral", "f": "negative"})
    assert [(row.label, row.voted_label) for row in rows] == [
        ("neutral", "positive"),
        ("positive", None),
        ("negative", None),
    ]
    assert (rows[0].distribution, rows[0].confidence) == ((0.0, 1.0, 0.0), 1.0)
    assert (rows[2].abstained, rows[2].raw_label) == (None, None)


def test_labels_of_people_set_the_confidence_right_where_the_vote_may_learn_from_them(config: Config) -> None:
    texts = documents(*(f"d{i}" for i in range(100)))
    cast = [vote for text in texts for vote in votes(text.document_id, "positive", "positive")]
    reviewed = {f"d{i}": "positive" if i % 4 else "neutral" for i in range(40)}
    learning = config.model_copy(update={"vote": config.vote.model_copy(update={"learn_from_review": True})})
    without, taught = (consensus_of(texts, cast, c, reviewed=reviewed)[-1] for c in (config, learning))
    assert (without.label, without.confidence) == ("positive", 1.0)
    assert taught.label == "positive"
    assert taught.confidence == pytest.approx(0.75, abs=0.01)


def test_confidence_is_judged_on_each_half_of_the_known_documents_by_a_fit_that_was_told_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = np.array([0, 1, 2, -1, 0, 0, 1, 2, -1, 1, 0, 2])
    told: list[set[int]] = []

    def fit(ballots: Ballots) -> Shares:
        """Says of each document the number of the call in its first share."""
        assert ballots.known is not None
        told.append(set(np.flatnonzero(ballots.known >= 0).tolist()))
        return np.tile([len(told) / 4, 1 - len(told) / 4, 0.0], (len(truth), 1))

    judged: list[Shares] = []

    class Nothing:
        def applied(self, shares: Shares) -> Shares:
            return shares

    def fitted(shares: Shares, known: np.ndarray) -> Nothing:
        assert known.tolist() == truth.tolist()
        judged.append(shares)
        return Nothing()

    monkeypatch.setattr(consensus, "method_of", lambda _: VoteMethod(fit, learns_from_known=True))
    monkeypatch.setattr(consensus, "fitted_recalibration", fitted)
    empty = np.zeros(0, np.int64)
    shares = shares_of(Ballots(LABELS, [], len(truth), empty, empty, empty, known=truth), "any")
    known = set(np.flatnonzero(truth >= 0).tolist())
    assert told[0] == known and told[1] | told[2] == known and not told[1] & told[2]
    assert len(told) == 3 and {len(told[1]), len(told[2])} == {5}
    assert (shares[:, 0] == 0.25).all()
    by_call = (judged[0][:, 0] * 4).tolist()
    assert [by_call[i] for i in sorted(known)] == [3.0 if i in told[1] else 2.0 for i in sorted(known)]
    monkeypatch.setattr(consensus, "method_of", lambda _: VoteMethod(fit))
    shares_of(Ballots(LABELS, [], len(truth), empty, empty, empty, known=truth), "any")
    assert len(told) == 4, "a method that does not learn is asked once"
