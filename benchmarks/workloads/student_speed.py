"""How fast a student trains, and how fast it labels at several batch sizes, on the example's texts."""

import csv
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.example_job import EXAMPLE
from xpoll.core.config.job import StudentConfig
from xpoll.core.progress import say
from xpoll.core.records import Consensus

PERCENTILES = (50, 95, 99)


def measure_student_speed(parameters: Parameters) -> Iterator[Record]:
    """Training once, then serving at each batch size."""
    say(f"training {parameters['encoder']} on {parameters['train_texts']} texts")
    yield from call_in_subprocess(train_and_serve, parameters)["records"]


def train_and_serve(parameters: Parameters) -> Record:
    """All figures; called in a process of its own."""
    from xpoll.student.inference.model import StudentModel
    from xpoll.student.train import train_student

    texts, known = _example_texts()
    labels = sorted(set(known))
    chosen = slice(0, parameters["train_texts"])
    rows = [
        _voted(i, text, label, labels) for i, (text, label) in enumerate(zip(texts[chosen], known[chosen], strict=True))
    ]
    config = StudentConfig(encoder=parameters["encoder"], epochs=parameters["epochs"], min_steps=0)
    with tempfile.TemporaryDirectory() as folder:
        student_folder = Path(folder) / "student"
        training = train_student(rows, labels, config=config, seed=0, output=student_folder)
        records = [
            {"arm": "train", "train_texts_per_s": training.rows_per_s, "train_wall_s": training.wall_s},
        ]
        student = StudentModel(student_folder)
        student.probabilities(texts)  # warm-up
        for size in parameters["batch_sizes"]:
            records.append({"arm": f"serve, batch {size}", **_served(student, texts, size, parameters["served_texts"])})
    return {"records": records}


def _served(student: "object", texts: Sequence[str], size: int, number: int) -> Record:
    """Latency of a batch and texts a second, over `number` texts in turn."""
    probabilities = student.probabilities  # type: ignore[attr-defined]
    seconds = []
    for start in range(0, number, size):
        batch = [texts[(start + i) % len(texts)] for i in range(size)]
        begun_s = time.perf_counter()
        probabilities(batch)
        seconds.append(time.perf_counter() - begun_s)
    record: Record = {"batches": len(seconds), "texts_per_s": round(size * len(seconds) / sum(seconds), 3)}
    for percent, value in zip(PERCENTILES, np.percentile(seconds, PERCENTILES), strict=True):
        record[f"batch_p{percent}_ms"] = round(1000 * float(value), 3)
    return record


def _example_texts() -> tuple[list[str], list[str]]:
    texts, labels = [], []
    for name in ("documents.csv", "gold.csv"):
        with (EXAMPLE / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                texts.append(row["text"])
                labels.append(row["label"])
    return texts, labels


def _voted(number: int, text: str, label: str, labels: Sequence[str]) -> Consensus:
    distribution = tuple(float(each == label) for each in labels)
    return Consensus(f"doc-{number}", "train", text, label, distribution, 1.0, 1, 0, 1.0)
