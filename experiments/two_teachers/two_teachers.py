"""What a second, unlike teacher is worth, and whether the vote finds out which one to believe.

MiniLM reads each text beside the labels; the second teacher is recorded (three chains of thought of Mixtral-8x7B, on
financial_phrasebank) or made up (on BANKING77: right with a given probability, else one of the five labels that lie
nearest to the right one by MiniLM's own embeddings, so that both err alike). Train rows chose the method's constants;
`split = "test"` scores them. Which rows people label is drawn anew for each of `audits`; these rows do not score.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.core.errors import ConfigError
from xpoll.core.records import AnswerSchema, Vote
from xpoll.engine.backends.encoder.model import load_text_encoder
from xpoll.engine.backends.encoder.options import EncoderOptions
from xpoll.engine.backends.encoder.scores import LabelScorer
from xpoll.engine.devices.find import Device
from xpoll.votes.ballots import Ballots, ballots_of
from xpoll.votes.compare import calibration_error, scores
from xpoll.votes.consensus import shares_of, winners

NEAREST = 5
SENTIMENT = {
    "negative": "bad news for the value of the company",
    "neutral": "routine news, facts or dates that change nothing for its value",
    "positive": "good news for the value of the company",
}


class Rows(NamedTuple):
    """Texts with their true labels, and answers of a second teacher, each a number of a label or -1."""

    labels: dict[str, str]
    texts: list[str]
    truth: np.ndarray
    second: np.ndarray  # (texts, answers)


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record per data set, arm and method, then with audits."""
    folder = Path(parameters["data"])
    if not (folder / "phrasebank").is_dir():
        raise ConfigError(f"parameters.data: {folder} has no phrasebank/", mend="--set parameters.data=../shared/data")
    scorer = LabelScorer(load_text_encoder(parameters["model"], OPTIONS, Device("cpu", 0, "cpu")), OPTIONS)
    data = {"phrasebank, Mixtral": _phrasebank(folder, parameters)}
    for right in parameters["made_up"]:
        data[f"BANKING77, made up, {right:.0%} right"] = _banking(folder, parameters, right, scorer)
    for name, rows in data.items():
        found = list(_figures(name, rows, scorer, parameters))
        yield from found
        yield {"data": name, "arm": "pooled beside the others", **_pooled(found, min(parameters["audit"]))}


def _pooled(found: Sequence[Record], fewest: int) -> Record:
    """How far the pool with the smallest audit is below the better teacher, and its error by that of `calibrated`."""
    figures = {(row["arm"], row["method"], row["audit"]): row for row in found}
    better = max(row["accuracy"] for row in found if row["arm"].endswith("alone"))
    error, usual = (figures["both", method, 0]["ece"] for method in ("pooled", "calibrated"))
    return {
        "below_the_better": better - figures["both", "pooled", fewest]["accuracy"],
        "share_of_ece": error / usual if usual else 1.0,
    }


OPTIONS = EncoderOptions()


def _figures(name: str, rows: Rows, scorer: LabelScorer, parameters: Parameters) -> Iterator[Record]:
    ballots = votes_of(rows, scorer(rows.texts, _schema(rows.labels)).logprobs)
    for arm, number in (("encoder alone", 0), ("second alone", 1), ("both", None)):
        kept = ballots if number is None else ballots.of_teacher(number)
        for method in parameters["methods"] if number is None else ["calibrated"]:
            if method in parameters["slow"] and len(rows.labels) > 10:
                continue
            # Alone, a teacher without logprobs has its majority.
            voted = shares_of(kept, "majority" if arm == "second alone" else method)
            yield {"data": name, "arm": arm, "method": method, "audit": 0, **_scored(voted, rows)}
    rng = np.random.default_rng(parameters["seed"])
    for size in parameters["audit"]:
        drawn = [rng.choice(len(rows.truth), size, replace=False) for _ in range(parameters["audits"])]
        for method in parameters["audited_methods"]:
            yield {"data": name, "arm": "both", "method": method, **_audited(ballots, rows, drawn, method)}


def _audited(ballots: Ballots, rows: Rows, drawn: Sequence[np.ndarray], method: str) -> Record:
    """Means over audits, of the rows that nobody labelled; and the spread of the accuracy over audits."""
    accuracies, errors = [], []
    for audit in drawn:
        known = np.full(len(rows.truth), -1)
        known[audit] = rows.truth[audit]
        voted = shares_of(replace(ballots, known=known), method)
        unseen = np.where(known >= 0, -1, rows.truth)
        accuracies.append(float((winners(voted) == unseen)[unseen >= 0].mean()))
        errors.append(calibration_error(voted, unseen) or 0.0)
    return {
        "audit": len(drawn[0]),
        "audits": len(drawn),
        "accuracy": float(np.mean(accuracies)),
        "accuracy_sd": float(np.std(accuracies)),
        "ece": float(np.mean(errors)),
    }


def _scored(voted: np.ndarray, rows: Rows) -> Record:
    found = scores(voted, rows.truth, list(rows.labels))
    low, high = found["accuracy_ci95"]
    kept = {name: found[name] for name in ("accuracy", "f1_macro", "ece", "abstained")}
    return {"documents": len(rows.truth), **kept, "accuracy_low": low, "accuracy_high": high}


def votes_of(rows: Rows, logprobs: np.ndarray) -> Ballots:
    """The votes of both teachers, the encoder first by name.

    Args:
        rows: The texts.
        logprobs: (texts, labels) of the encoder.
    """
    labels, votes = list(rows.labels), []
    for number, (row, answers) in enumerate(zip(np.exp(logprobs), rows.second, strict=True)):
        shares = tuple((row / row.sum()).tolist())
        best = int(row.argmax())
        votes.append(Vote(f"{number}", "annotator", 0, labels[best], None, shares[best], shares, None, "encoder"))
        votes += [
            Vote(f"{number}", "annotator", sample, labels[answer], teacher="second")
            for sample, answer in enumerate(answers.tolist())
            if answer >= 0
        ]
    return ballots_of([str(i) for i in range(len(rows.texts))], votes, labels)


def _phrasebank(folder: Path, parameters: Parameters) -> Rows:
    rows = _sampled(folder / "phrasebank" / f"mixtral_{parameters['split']}.csv", parameters)
    code = {label: i for i, label in enumerate(SENTIMENT)}
    answers = [[code.get(row[f"vote_{i}"], -1) for i in (1, 2, 3)] for row in rows]
    truth = np.array([code[row["label_experts"]] for row in rows])
    return Rows(SENTIMENT, [row["text"] for row in rows], truth, np.array(answers))


def _banking(folder: Path, parameters: Parameters, right: float, scorer: LabelScorer) -> Rows:
    rows = _sampled(folder / "banking77" / f"{parameters['split']}.csv", parameters)
    with (folder / "banking77" / "test.csv").open(encoding="utf-8", newline="") as file:
        names = sorted({row["category"] for row in csv.DictReader(file)})
    truth = np.array([names.index(row["category"]) for row in rows])
    labels = dict.fromkeys(names, "")
    likeness = scorer([name.replace("_", " ") for name in names], _schema(labels)).logprobs
    rng = np.random.default_rng(parameters["seed"])
    near = [[other for other in np.argsort(-row) if other != i][:NEAREST] for i, row in enumerate(likeness)]
    answers = [[label if rng.random() < right else int(rng.choice(near[label]))] for label in truth.tolist()]
    return Rows(labels, [row["text"] for row in rows], truth, np.array(answers))


def _schema(labels: dict[str, str]) -> AnswerSchema:
    return AnswerSchema(tuple(labels), logprobs=True, descriptions=tuple(labels.values()))


def _sampled(path: Path, parameters: Parameters) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = np.random.default_rng(parameters["seed"]).permutation(len(rows))[: parameters["rows"]]
    return [rows[i] for i in sorted(chosen.tolist())]
