"""Students of data sets with labels by people: accuracy on test rows, rate of training, and what INT8 changes."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.labelled_sets import LabelledSet, labelled_set
from xpoll.benchmarks.workloads.student_int8 import RUNTIME
from xpoll.benchmarks.workloads.student_sentences import settings
from xpoll.core import statistics
from xpoll.core.errors import ConfigError, UserError
from xpoll.core.progress import say
from xpoll.core.records import Consensus
from xpoll.student.recipe import Recipe


def measure_sets(parameters: Parameters) -> Iterator[Record]:
    """A record for each data set of `parameters.sets`; one that is not there is left out with a line."""
    for name in parameters["sets"]:
        try:
            train = labelled_set(parameters["data"], name, "train", rows=parameters["set_rows"], seed=0)
            test = labelled_set(parameters["data"], name, "test", rows=parameters["set_test_rows"], seed=0)
        except ConfigError as error:
            say(f"{name} is left out: {error}")
            continue
        yield {"arm": "people's labels", "set": name, "labels": len(test.labels), **_measured(train, test, parameters)}


def _measured(train: LabelledSet, test: LabelledSet, parameters: Parameters) -> Record:
    from xpoll.student.intel.export import export_student
    from xpoll.student.train import train_student

    config, recipe = settings(parameters, epochs=parameters["set_epochs"]), Recipe.model_validate(parameters["recipe"])
    with tempfile.TemporaryDirectory() as folder:
        student = Path(folder) / "student"
        training = train_student(rows_of(train), test.labels, config=config, seed=0, output=student, recipe=recipe)
        truth = test.named(test.truth)
        plain = _labels(student, "pytorch", test)
        accuracy, f1 = statistics.accuracy(plain, truth), statistics.f1_macro(plain, truth, test.labels)
        record: Record = {
            "rows": len(train.texts),
            "test_rows": len(test.texts),
            "train_texts_per_s": training.rows_per_s,
            "set_accuracy": accuracy.value,
            "accuracy_low": accuracy.low,
            "accuracy_high": accuracy.high,
            "f1_macro": f1.value,
        }
        try:
            export_student(student, train.texts, python=parameters["ipex_python"])
        except UserError as error:
            say(f"OpenVINO is left out: {error}")
            return record
        int8 = _labels(student, RUNTIME, test)
    return record | {
        "set_int8_points_lost": 100 * (accuracy.value - statistics.accuracy(int8, truth).value),
        "labels_changed": sum(mine != exact for mine, exact in zip(int8, plain, strict=True)),
    }


def rows_of(train: LabelledSet) -> list[Consensus]:
    """The rows as voted documents, each with the label that people gave."""
    certain = np.eye(len(train.labels))[train.truth].tolist()
    return [
        Consensus(f"train-{i}", "train", text, label, tuple(target), 1.0, 1, 0, 1.0)
        for i, (text, label, target) in enumerate(zip(train.texts, train.named(train.truth), certain, strict=True))
    ]


def _labels(student: Path, way: str, test: LabelledSet) -> Sequence[str]:
    from xpoll.student.inference.model import StudentModel

    model = StudentModel(student, runtime=way)
    return [model.labels[best] for best in model.probabilities(test.texts).argmax(1)]
