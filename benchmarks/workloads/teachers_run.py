"""Polls a panel of unlike models about labelled texts, as a run does, and scores every way to count their votes."""

import csv
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.labelled_sets import LabelledSet
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.config.teachers import teachers_of
from xpoll.core.errors import UserError
from xpoll.core.files import read_json
from xpoll.core.record_files import stream_records
from xpoll.core.records import Vote
from xpoll.core.statistics import accuracy, expected_calibration_error
from xpoll.pipeline.prepare import prepare
from xpoll.pipeline.steps import STEPS
from xpoll.votes.ballots import Ballots, Shares, ballots_of
from xpoll.votes.methods.counting import majority
from xpoll.votes.methods.registry import METHODS

JOB = """
[documents]
path = "texts.csv"
id_column = "id"
[panel]
answer = "read"
[[teachers]]
name = "causal"
[[teachers]]
name = "encoder"
engine = {backend = "encoder", model = "all-minilm-l6-v2"}
"""


def measure_teachers(
    rows: LabelledSet, *, model: str, methods: list[str], examples: LabelledSet | None = None
) -> Iterator[Record]:
    """The figures of each teacher alone and of both, by method.

    Args:
        rows: What is labelled; the votes see no label.
        model: The causal model, which is read.
        methods: Names of vote methods. "raw" is each answer's likeliest label, or of both the mean distribution.
        examples: Texts that the causal model is shown with their labels; none of them is among the rows.

    Yields:
        One record per teacher and method, then one per teacher with what it took.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = _job(Path(folder), rows, model, examples)
        prepared = prepare(config)
        STEPS["poll"].function(config, prepared.folder)
        STEPS["vote"].function(config, prepared.folder)
        votes = list(stream_records(prepared.folder.votes, Vote))
        ballots = ballots_of([str(number) for number in range(len(rows.texts))], votes, rows.labels)
        yield from scored(ballots, rows, methods)
        for teacher in teachers_of(config):
            (session,) = read_json(teacher.folder.engine)["sessions"]
            yield {
                "arm": f"{teacher.name}: cost",
                "texts": len(rows.texts),
                "wall_s": round(session["wall_s"], 2),
                "startup_s": round(session["startup_s"], 2),
                "texts_per_s": round(len(rows.texts) / session["wall_s"], 3),
            }


def scored(ballots: Ballots, rows: LabelledSet, methods: list[str]) -> Iterator[Record]:
    """Accuracy with its interval, and expected calibration error, of each teacher and of all, by method."""
    panels: Mapping[str, Ballots] = {
        **{name: ballots.of_teacher(number) for number, name in enumerate(ballots.teacher_ids)},
        "both": ballots,
    }
    for panel, some in panels.items():
        for method in methods:
            try:
                shares = _mean(some) if method == "raw" else METHODS[method](some)
            except UserError:  # it reads what these votes do not have
                continue
            confidence, best = shares.max(1), shares.argmax(1)
            found = accuracy(rows.named(best), rows.named(rows.truth))
            yield {
                "arm": f"{panel}: {method}",
                "texts": len(rows.texts),
                "labels": len(rows.labels),
                "accuracy": round(found.value, 4),
                "accuracy_low": round(found.low, 4),
                "accuracy_high": round(found.high, 4),
                "confidence_mean": round(float(confidence.mean()), 4),
                "ece": round(expected_calibration_error(confidence.tolist(), (best == rows.truth).tolist()), 4),
            }


def _mean(ballots: Ballots) -> Shares:
    """The mean of the distributions as they came."""
    if ballots.distributions is None:
        return majority(ballots)
    summed = np.zeros((ballots.num_documents, len(ballots.labels)))
    np.add.at(summed, ballots.document_of, ballots.distributions)
    shares: Shares = summed / summed.sum(1, keepdims=True)
    return shares


def _job(folder: Path, rows: LabelledSet, model: str, examples: LabelledSet | None) -> Config:
    with (folder / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(rows.texts))
    (folder / "job.toml").write_text(JOB, encoding="utf-8")
    overrides = [
        f'job.run_folder="{folder / "run"}"',
        f'documents.path="{folder / "texts.csv"}"',
        f"task.labels={rows.labels}",
        f'task.question="{rows.question}"',
        f'engine.model="{model}"',
        'engine.device="cpu"',
        'engine.vllm={dtype = "float32", kv_cache_memory_bytes = 2147483648}',
    ]
    if examples:
        shown = zip(examples.texts, examples.named(examples.truth), strict=True)
        tables = ", ".join(f"{{text = {json.dumps(text)}, label = {json.dumps(label)}}}" for text, label in shown)
        overrides.append(f"task.examples=[{tables}]")
    return load_config(folder / "job.toml", overrides)
