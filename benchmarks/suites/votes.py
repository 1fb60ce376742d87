"""Vote methods on recorded answers of Mixtral-8x7B to financial_phrasebank sentences, against expert labels.

Runs the recorded answers (workloads/recording.py) through the replay backend and the vote, as a run does, without
an engine. The folder of the recording is the parameter `data`.

The experts' labels of the test sentences only score: everything that is chosen or fitted is chosen and fitted on
the train sentences. Data sets of more labels, for which no answers are recorded, meet a panel that is drawn
(workloads/planted_votes.py).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads import million_votes
from xpoll.benchmarks.workloads.audits import KnownPile, recorded_estimates
from xpoll.benchmarks.workloads.labelled_sets import labelled_set
from xpoll.benchmarks.workloads.nlu_plus_plus import nlu_plus_plus
from xpoll.benchmarks.workloads.planted_votes import measure_planted, measure_planted_sets
from xpoll.benchmarks.workloads.recording import (
    LABELS,
    SAMPLES,
    RecordedPanel,
    Recording,
    read_recording,
    recorded_ballots,
    recording_folder,
    replayed,
)
from xpoll.core.errors import ConfigError
from xpoll.core.progress import say
from xpoll.core.records import Completion, Consensus, Vote
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


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record per panel, method or question; `split` names the sentences that it is about.

    Raises:
        ConfigError: `data` does not name a folder with the recorded answers.
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
        yield from _estimates(ballots, recording, parameters)
        yield _errors(ballots, recording)
        yield from _planted(parameters)
        for name in parameters["scaling_methods"]:
            for num_personas in parameters["scaling_personas"]:
                say(f"{parameters['scaling_votes']:,} votes of {num_personas} personas: {name}")
                scaled = call_in_subprocess(million_votes.measure_once, name, parameters["scaling_votes"], num_personas)
                yield {"arm": "many votes", "method": name, **scaled}


def _published(folder: Path, recording: Recording) -> Iterator[Record]:
    """The figures published with the answers, and the same figures measured here, on the test sentences."""
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
    """Every method on the votes of all sentences; with `choose`, also the method that the train sentences select."""
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
    """The correlation of the three answers' errors, by the experts' labels of the train sentences."""
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
    """The poll with panel.stop = "decided": the number of answers, and whether the majority is the same."""
    answers: dict[str, list[Completion]] = {document_id: [] for document_id in recording.document_ids}
    for completion in replayed(folder, recording, RecordedPanel("chain_of_thought", SAMPLES)):
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
    """Simulated audits of the posterior's labels of the train sentences, answered by the experts."""
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


def _estimates(ballots: Ballots, recording: Recording, parameters: Parameters) -> Iterator[Record]:
    """Simulated audits of the same sentences: how often the interval of each label's share holds, and its width."""
    shares, train = METHODS["posterior"](ballots), ~recording.is_test
    known = train & (winners(shares) >= 0)
    pile = KnownPile(recording.truth[known], winners(shares)[known], shares[known].max(1))
    yield from recorded_estimates(pile, parameters["audits"], parameters["audit_size"], len(LABELS))


def _errors(ballots: Ballots, recording: Recording) -> Record:
    """Precision of confident learning on the train sentences: how many of the labels that it lists are wrong."""
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


def _planted(parameters: Parameters) -> Iterator[Record]:
    """A drawn panel on the labels of each further data set; one that is not there is left out with a line."""
    for name in parameters["sets"]:
        try:
            rows = labelled_set(parameters["data"], name, "test", rows=parameters["set_rows"], seed=0)
        except ConfigError as error:
            say(f"{name} is left out: {error}")
            continue
        yield from measure_planted(name, rows, parameters["planted"], parameters["methods"], seed=0)
    try:
        intents = nlu_plus_plus(parameters["data"], "test", rows=parameters["set_rows"], seed=0)
    except ConfigError as error:
        say(f"NLU++ is left out: {error}")
        return
    yield from measure_planted_sets(intents, parameters["planted"], parameters["set_methods"], seed=0)


def _flat(found: Record, prefix: str = "") -> Record:
    """Scores with the ends of intervals as separate figures; prefixed with an arm's name where a check needs it."""
    (low, high), (f1_low, f1_high) = found.pop("accuracy_ci95"), found.pop("f1_macro_ci95")
    found |= {"accuracy_low": low, "accuracy_high": high, "f1_macro_low": f1_low, "f1_macro_high": f1_high}
    return {f"{prefix}_{name}" if prefix else name: value for name, value in found.items()}
