"""Ways to vote on recorded answers of Mixtral-8x7B to financial_phrasebank sentences, against expert labels.

Reads mixtral_train.csv and mixtral_test.csv (columns document_id, text, label_experts, label_simple,
label_cot, vote_1 to vote_3, label_majority_published) through the replay backend and the vote, as a run
does, without an engine. The files are not part of the project: their licence is non-commercial.

Experts' labels of the test sentences are used to score and for nothing else: what is chosen or fitted is
chosen and fitted on the train sentences.
"""

import asyncio
import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpoll.benchmarks.runner.fresh import in_fresh_process
from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads import million_votes
from xpoll.core.errors import ConfigError
from xpoll.core.progress import say
from xpoll.core.records import AnswerSchema, Completion, Consensus, Prompt, Sampling, Vote
from xpoll.engine.backends.backend import BackendSettings
from xpoll.engine.backends.replay import ReplayBackend
from xpoll.engine.devices.find import Device
from xpoll.votes.ballots import Ballots, Shares, ballots_of
from xpoll.votes.compare import calibration_error, effective_votes, scores
from xpoll.votes.consensus import winners
from xpoll.votes.methods import posterior
from xpoll.votes.methods.recalibration import fitted_recalibration
from xpoll.votes.methods.registry import METHODS
from xpoll.votes.parse import to_vote
from xpoll.votes.review.bound import Stratum, certify
from xpoll.votes.review.label_errors import likely_errors, text_probabilities
from xpoll.votes.review.sample import draw_sample
from xpoll.votes.stop import Decided

LABELS = ["negative", "neutral", "positive"]
SAMPLES = ["vote_1", "vote_2", "vote_3"]


class Recording(NamedTuple):
    """The sentences of both files, train first; `truth` is the number of the experts' label."""

    rows: list[dict[str, str]]
    truth: np.ndarray
    is_test: np.ndarray

    @property
    def document_ids(self) -> list[str]:
        return [row["document_id"] for row in self.rows]


class RecordedPanel(NamedTuple):
    """One way to ask: a persona and the columns that hold its answers."""

    persona: str
    columns: Sequence[str]


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record a prompt, method or question; `split` says which sentences it is about.

    Raises:
        ConfigError: the recorded answers are not there.
    """
    folder = recording_folder(parameters["data"])
    recording = read_recording(folder)
    for _ in range(parameters["repeats"]):
        yield from _published(folder, recording)
        chains = [RecordedPanel("chain_of_thought", SAMPLES)]
        ballots = recorded_ballots(folder, recording, chains)
        yield from _methods("three chains", ballots, recording, parameters["methods"], choose=True)
        both = recorded_ballots(folder, recording, [*chains, RecordedPanel("label_only", ["label_simple"])])
        yield from _methods("three chains and label only", both, recording, parameters["methods"], choose=False)
        yield _correlation(ballots, recording)
        yield _stopped(folder, recording)
        yield _audits(ballots, recording, parameters)
        yield _errors(ballots, recording)
        for name in parameters["scaling_methods"]:
            for num_personas in parameters["scaling_personas"]:
                say(f"{parameters['scaling_votes']:,} votes of {num_personas} personas: {name}")
                scaled = in_fresh_process(million_votes.measure_once, name, parameters["scaling_votes"], num_personas)
                yield {"arm": "many votes", "method": name, **scaled}


def _published(folder: Path, recording: Recording) -> Iterator[Record]:
    """What was published with the answers, and what comes out here, on the test sentences."""
    truth = recording.truth[recording.is_test]
    for name, columns in (
        ("label_only", ["label_simple"]),
        ("one_chain", ["label_cot"]),
        ("majority_of_three", SAMPLES),
    ):
        say(f"replay and vote: {name}")
        shares = METHODS["majority"](recorded_ballots(folder, recording, [RecordedPanel(name, columns)]))[
            recording.is_test
        ]
        yield {"arm": name, "split": "test", **_flat(scores(shares, truth, LABELS), name)}
    named = [[row[column] for column in SAMPLES if row[column] in LABELS] for row in recording.rows]
    first_seen = np.array([LABELS.index(Counter(votes).most_common(1)[0][0]) for votes in named])
    published = np.array([LABELS.index(row["label_majority_published"]) for row in recording.rows])
    for name, labels in (("first_seen_tie_break", first_seen), ("published_majority", published)):
        right = (labels == recording.truth)[recording.is_test]
        yield {"arm": name, "split": "test", f"{name}_accuracy": float(right.mean()), "right": int(right.sum())}


def _methods(
    arm: str, ballots: Ballots, recording: Recording, methods: Sequence[str], *, choose: bool
) -> Iterator[Record]:
    """Every method on the votes of all sentences; with `choose`, which one the train sentences choose."""
    test, train = recording.is_test, ~recording.is_test
    ranked: list[tuple[int, float, str]] = []
    fitted: dict[str, Shares] = {}
    for name in methods:
        say(f"{arm}: {name}")
        shares = METHODS[name](ballots)
        learnt = fitted_recalibration(shares[train], recording.truth[train])
        fitted[name] = learnt.applied(shares)
        found = {split: scores(shares[rows], recording.truth[rows], LABELS) for split, rows in _splits(recording)}
        if found["train"]["coverage"] == 1:
            ranked.append((-found["train"]["right"], found["train"]["ece"], name))
        for split, rows in _splits(recording):
            after = calibration_error(fitted[name][rows], recording.truth[rows])
            yield {"arm": arm, "method": name, "split": split, **_flat(found[split]), "fitted_ece": after}
    if choose and ranked:
        *_, best = min(ranked)
        found = scores(fitted[best][test], recording.truth[test], LABELS)
        yield {"arm": f"{arm}: chosen on train", "method": best, "split": "test", **_flat(found, "chosen")}


def _splits(recording: Recording) -> list[tuple[str, np.ndarray]]:
    return [("train", ~recording.is_test), ("test", recording.is_test)]


def _correlation(ballots: Ballots, recording: Recording) -> Record:
    """How far the three answers err together, by the experts' labels of the train sentences."""
    known = np.where(recording.is_test, -1, recording.truth)
    fit = posterior.fit(replace(ballots, known=known))
    worth = effective_votes(ballots, known, ballots.persona_ids) or {}
    return {
        "arm": "correlation",
        "split": "train",
        "one_opinion": fit.correlation,
        "votes_per_text": worth.get("votes"),
        "effective_votes": worth.get("effective"),
    }


def _stopped(folder: Path, recording: Recording) -> Record:
    """The poll with panel.stop = "decided": what is asked, and whether the majority is the same."""
    answers: dict[str, list[Completion]] = {document_id: [] for document_id in recording.document_ids}
    for completion in _replayed(folder, recording, RecordedPanel("chain_of_thought", SAMPLES)):
        answers[completion.document_id].append(completion)
    rule = Decided(tuple(LABELS))
    kept: list[Vote] = []
    for of_document in answers.values():
        asked = 0
        while more := rule.fewest(of_document[:asked], len(of_document) - asked):
            asked += more
        kept += [to_vote(completion, LABELS) for completion in of_document[:asked]]
    everything = [to_vote(completion, LABELS) for of_document in answers.values() for completion in of_document]
    full, cut = (
        winners(METHODS["majority"](ballots_of(recording.document_ids, votes, LABELS))) for votes in (everything, kept)
    )
    test = set(np.array(recording.document_ids)[recording.is_test])
    return {
        "arm": "stop when decided",
        "split": "all",
        "asked_per_text": len(kept) / len(answers),
        "asked_per_text_test": sum(vote.document_id in test for vote in kept) / len(test),
        "majorities_that_differ": int((full != cut).sum()),
    }


def _audits(ballots: Ballots, recording: Recording, parameters: Parameters) -> Record:
    """Audits of the posterior's labels of the train sentences, answered by the experts."""
    shares = METHODS["posterior"](ballots)
    decided, train = winners(shares), ~recording.is_test
    wrong = {row["document_id"]: decided[i] != recording.truth[i] for i, row in enumerate(recording.rows)}
    voted = [
        Consensus(row["document_id"], "train", "", LABELS[decided[i]], (), float(shares[i].max()), 3, 0, 1.0)
        for i, row in enumerate(recording.rows)
        if train[i] and decided[i] >= 0
    ]
    accuracy = 1 - float(np.mean([wrong[row.document_id] for row in voted]))
    bounds = []
    for seed in range(parameters["audits"]):
        drawn = draw_sample(voted, size=parameters["audit_size"], seed=seed)
        found = sum(int(wrong[row["document_id"]]) for row in drawn["rows"])
        strata = [Stratum(stratum["documents"], stratum["sampled"]) for stratum in drawn["strata"]]
        bounds.append(certify(strata, wrong=found).voted_at_least)
    return {
        "arm": "audits",
        "split": "train",
        "audits": len(bounds),
        "audit_size": parameters["audit_size"],
        "audit_coverage": float(np.mean(np.array(bounds) <= accuracy)),
        "label_accuracy": accuracy,
        "median_bound": float(np.median(bounds)),
    }


def _errors(ballots: Ballots, recording: Recording) -> Record:
    """Of the labels of the train sentences that confident learning holds for likely wrong, how many are."""
    train = np.flatnonzero(~recording.is_test)
    labels = winners(METHODS["posterior"](ballots))[train]
    texts = [recording.rows[i]["text"] for i in train]
    found = likely_errors(labels, text_probabilities(texts, labels, len(LABELS), seed=0))
    wrong = labels != recording.truth[train]
    first = [bool(wrong[error.row]) for error in found[:50]]
    return {
        "arm": "likely label errors",
        "split": "train",
        "listed": len(found),
        "wrong_among_first_50": float(np.mean(first)),
        "wrong_among_all": float(wrong.mean()),
    }


def _flat(found: Record, prefix: str = "") -> Record:
    """Scores with the ends of intervals as figures of their own, named after an arm where a check needs it."""
    (low, high), (f1_low, f1_high) = found.pop("accuracy_ci95"), found.pop("f1_macro_ci95")
    found |= {"accuracy_low": low, "accuracy_high": high, "f1_macro_low": f1_low, "f1_macro_high": f1_high}
    return {f"{prefix}_{name}" if prefix else name: value for name, value in found.items()}


def recorded_ballots(folder: Path, recording: Recording, panels: Sequence[RecordedPanel]) -> Ballots:
    votes = [to_vote(answer, LABELS) for panel in panels for answer in _replayed(folder, recording, panel)]
    return ballots_of(recording.document_ids, votes, LABELS)


def _replayed(folder: Path, recording: Recording, panel: RecordedPanel) -> list[Completion]:
    """The recorded answers as the replay backend gives them."""
    options = {"path": [str(path) for path in _paths(folder)], "sample_columns": list(panel.columns)}
    backend = ReplayBackend(BackendSettings("recorded", Device("cpu", 0, "recorded"), "w0", options))
    sampling, schema = Sampling(0.8, 1.0, 128), AnswerSchema(tuple(LABELS))

    async def answers() -> list[Completion]:
        await backend.start()
        return [
            await backend.answer(Prompt(document_id, panel.persona, sample, (), sampling, schema))
            for document_id in recording.document_ids
            for sample in range(len(panel.columns))
        ]

    return asyncio.run(answers())


def recording_folder(named: str) -> Path:
    if not (given := named or os.environ.get("XPOLL_DATA")):
        raise ConfigError(
            "the folder of the recorded answers is not given, and their licence keeps them out of the project",
            mend="--set parameters.data=FOLDER with phrasebank/ in it, or set XPOLL_DATA",
        )
    folder = Path(given) / "phrasebank"
    if missing := [path for path in _paths(folder) if not path.is_file()]:
        raise ConfigError(
            f"the recorded answers are not there: {missing[0]}, and their licence keeps them out of the project",
            mend="xpoll bench votes --set parameters.data=FOLDER with phrasebank/ in it, or set XPOLL_DATA",
        )
    return folder


def _paths(folder: Path) -> list[Path]:
    return [folder / "mixtral_train.csv", folder / "mixtral_test.csv"]


def read_recording(folder: Path) -> Recording:
    rows: list[dict[str, str]] = []
    is_test: list[bool] = []
    for number, path in enumerate(_paths(folder)):
        with path.open(encoding="utf-8", newline="") as file:
            read = list(csv.DictReader(file))
        rows += read
        is_test += [number == 1] * len(read)
    return Recording(rows, np.array([LABELS.index(row["label_experts"]) for row in rows]), np.array(is_test))
