"""Tasks beside one label per text, on NLU++: several intents a query, and slots as spans.

A panel whose errors are known (workloads/task_panels.py) answers; its answers are read, counted and learned from as an
engine's are. The part `engine` has a real one answer, about fewer queries and some hostile texts. People's labels of
the test fold score teacher and student and do nothing else.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.nlu_plus_plus import nlu_plus_plus, nlu_slots
from xpoll.benchmarks.workloads.task_engine import engine_runs
from xpoll.benchmarks.workloads.task_panels import SetErrors, SpanErrors, set_answers, span_answers
from xpoll.core.config.file import checked_section
from xpoll.core.config.job import Config, StudentConfig
from xpoll.core.config.task import SEPARATOR
from xpoll.core.records import Completion, Document
from xpoll.student.evaluation import Evaluation, Score
from xpoll.student.heads.registry import HEADS
from xpoll.votes.tasks.registry import kind_of

ALL = 10_000


def measure(parameters: Parameters) -> Iterator[Record]:
    """A record for each part, panel and seed; of the engine one for each kind."""
    for seed in range(parameters["seeds"]):
        if "intents" in parameters["parts"]:
            yield from _intents(parameters, seed)
        if "slots" in parameters["parts"]:
            yield from _slots(parameters, seed)
    if "engine" in parameters["parts"]:
        yield from _by_engine(parameters)


def _by_engine(parameters: Parameters) -> Iterator[Record]:
    for run in engine_runs(parameters):
        part = {"multi": "intents", "spans": "slots"}[run.kind]
        scores = _scores(part, run.evaluation) if run.evaluation else {}
        yield {"part": "engine", "arm": run.kind, **run.figures, **scores}


def _intents(parameters: Parameters, seed: int) -> Iterator[Record]:
    train = nlu_plus_plus(parameters["data"], "train", rows=parameters["train_rows"], seed=seed)
    test = nlu_plus_plus(parameters["data"], "test", rows=parameters["test_rows"], seed=0)
    labels = list(test.labels)
    errors = [SetErrors(**rates) for rates in parameters["set_errors"]]
    documents = [Document(str(i), text, "train") for i, text in enumerate(train.texts)]
    for i, (text, row) in enumerate(zip(test.texts, test.truth.tolist(), strict=True), len(documents)):
        gold = SEPARATOR.join(label for label, fits in zip(labels, row, strict=True) if fits)
        documents.append(Document(str(i), text, "gold", gold))
    truth = [*train.truth.tolist(), *test.truth.tolist()]
    answers = set_answers(np.array(truth, bool), labels, errors, seed=seed)
    yield _measured("intents", "multi", documents, answers, labels, parameters, seed)


def _slots(parameters: Parameters, seed: int) -> Iterator[Record]:
    train = nlu_slots(parameters["data"], "train", rows=parameters["train_rows"], seed=seed)
    test = nlu_slots(parameters["data"], "test", rows=parameters["test_rows"], seed=0)
    labels = list(test.labels)
    errors = [SpanErrors(**rates) for rates in parameters["span_errors"]]
    documents = [Document(str(i), text, "train") for i, text in enumerate(train.texts)]
    for i, (text, spans) in enumerate(zip(test.texts, test.spans, strict=True), len(documents)):
        gold = json.dumps([{"start": span.start, "end": span.end, "label": span.label} for span in spans])
        documents.append(Document(str(i), text, "gold", gold))
    texts, truth = [*train.texts, *test.texts], [*train.spans, *test.spans]
    answers = span_answers(texts, truth, labels, errors, seed=seed)
    yield _measured("slots", "spans", documents, answers, labels, parameters, seed)


def _measured(
    part: str,
    name: str,
    documents: Sequence[Document],
    answers: Sequence[Completion],
    labels: Sequence[str],
    parameters: Parameters,
    seed: int,
) -> Record:
    """What teacher and student have right, from the answers as text to the scores."""
    from xpoll.student.train import train_student

    kind = kind_of(name)
    head = HEADS[kind.head]
    config = Config.model_validate(
        {
            "documents": {"path": "unused"},
            "task": {"kind": name, "labels": list(labels)},
            "vote": {"method": parameters["method"]},
            "job": {"name": part, "run_folder": "unused"},
        }
    )
    votes: list[Any] = [kind.parse(answer, list(labels)) for answer in answers]
    rows: list[Any] = list(kind.aggregate(documents, votes, config))
    student: Any = None
    with tempfile.TemporaryDirectory() as folder:
        record: Record = {}
        if parameters["with_student"]:
            given = parameters["student"] | {"encoder": parameters["encoder"]}
            settings = checked_section(StudentConfig, given, "parameters.student")
            place = Path(folder) / "student"
            training = train_student(rows, labels, config=settings, seed=seed, output=place, head=head)
            record = {"trained_on": training.rows - training.held_out_rows, "train_texts_per_s": training.rows_per_s}
            student = head.load(place)
        found = head.evaluate(rows, labels, student)
    return {
        "part": part,
        "arm": "drawn panel",
        "seed": seed,
        "labels": len(labels),
        "personas": len({answer.persona_id for answer in answers}),
        "test_rows": found.gold_rows,
        **record,
        **_scores(part, found),
    }


def _scores(part: str, found: Evaluation) -> Record:
    made: Record = {}
    for rater, score in (("teacher", found.teacher), ("student", found.student)):
        if score is not None:
            made |= _of_rater(f"{part}_{rater}", score)
    if found.comparison is not None:
        made[f"{part}_student_below_p_value"] = found.comparison.p_value
    return made


def _of_rater(name: str, score: Score) -> Record:
    made: Record = {f"{name}_whole_right": score.accuracy}
    for measure in ("f1_micro", "f1_macro", "f1_overlap", "f1_token_macro"):
        value, ends = getattr(score, measure), getattr(score, f"{measure}_ci95")
        if value is not None:
            made |= {f"{name}_{measure}": value, f"{name}_{measure}_low": ends[0], f"{name}_{measure}_high": ends[1]}
    return made
