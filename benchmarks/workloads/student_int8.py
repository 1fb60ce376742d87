"""What INT8 costs in accuracy: students that differ in their seed alone, each exported and asked the same sentences.

Of 453 sentences one is 0.22 points, and the few that INT8 changes are those that a student is unsure of, so
what one student loses is mostly luck.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.recording import LABELS
from xpoll.benchmarks.workloads.student_sentences import Sentences
from xpoll.core import statistics
from xpoll.core.progress import say

RUNTIME, OF_WEIGHTS = "openvino-int8", "openvino-int8-weights"


def measure_points_lost(students: Sequence[Path], test: Sentences, encoder: str) -> Iterator[Record]:
    """A record for each student, in the order of their seeds, then one for all; each has its OpenVINO files."""
    lost: list[float] = []
    for seed, student in enumerate(students):
        say(f"what INT8 changes, student {seed + 1} of {len(students)}")
        plain, int8, of_weights = (_answers(student, way, test) for way in ("pytorch", RUNTIME, OF_WEIGHTS))
        right = statistics.accuracy(plain.labels, test.labels).value
        losses = [100 * (right - statistics.accuracy(each.labels, test.labels).value) for each in (int8, of_weights)]
        lost.append(losses[0])
        yield {
            "arm": RUNTIME,
            "encoder": encoder,
            "seed": seed,
            "split": "test",
            "fp32_accuracy": right,
            "int8_points_lost": losses[0],
            "int8_weights_points_lost": losses[1],
            "labels_changed": sum(mine != exact for mine, exact in zip(int8.labels, plain.labels, strict=True)),
            "computed_again": int8.num_again,
        }
    mean, spread = statistics.mean_and_spread(lost)
    yield {"arm": RUNTIME, "encoder": encoder, "int8_points_lost_mean": mean, "int8_points_lost_sd": spread}


class LabelledSentences(NamedTuple):
    """Labels of the test sentences, and how many of these fp32 decided because they were close calls."""

    labels: list[str]
    num_again: int


def _answers(student: Path, way: str, test: Sentences) -> LabelledSentences:
    from xpoll.student.inference.model import StudentModel

    model = StudentModel(student, runtime=way)
    return LabelledSentences([LABELS[best] for best in model.probabilities(test.texts).argmax(1)], model.num_again)
