"""`xpoll report A B`: two runs side by side, and whether their teachers differ on the gold rows both have.

Reads metrics.json and labels.parquet of both; writes nothing.
"""

from typing import Any, NamedTuple

from xpoll.core import statistics
from xpoll.core.record_files import stream_records
from xpoll.core.records import Consensus
from xpoll.core.run_folder import RunFolder
from xpoll.report.metrics import Metrics, read_metrics
from xpoll.student.evaluation import SIGNIFICANT_P

FIGURES = (
    ("teacher.accuracy", "teacher, accuracy"),
    ("teacher.f1_macro", "teacher, macro F1"),
    ("teacher.ece", "teacher, calibration error"),
    ("student.accuracy", "student, accuracy"),
    ("documents", "documents"),
    ("labels.abstained", "abstentions"),
    ("votes.unparsable", "answers without a label"),
    ("engine.documents_per_s", "documents/s"),
    ("engine.output_tokens_per_s", "output tokens/s"),
    ("engine.cached_share", "prompt tokens from the cache, share"),
    ("engine.startup_s", "start-up, s"),
    ("energy.energy_j", "energy, J"),
    ("energy.per_label_j", "energy per label, J"),
    ("cost.usd", "cost, USD"),
    ("cost.co2_kg", "CO2, kg"),
)


class Paired(NamedTuple):
    """Teachers on the gold rows that both runs have: rows, how many each has right, and an exact McNemar p-value."""

    rows: int
    first_right: int
    second_right: int
    p_value: float

    @property
    def within_noise(self) -> bool:
        """Whether the test finds no difference."""
        return self.p_value >= SIGNIFICANT_P


class RunComparison(NamedTuple):
    """Two runs side by side.

    `figures` are (name, first, second), None where a run has none. `paired` is None without common gold rows.
    `agreement` is the share of the documents in both that have the same label; None where there are none.
    """

    figures: list[tuple[str, float | None, float | None]]
    paired: Paired | None
    agreement: float | None


def compare_runs(first: RunFolder, second: RunFolder) -> RunComparison:
    """The figures of both runs, and whether their teachers differ.

    Raises:
        RunFolderError: a run has no metrics yet, or they are of another version.
    """
    metrics = [read_metrics(each) for each in (first, second)]
    rows = [_rows(each) for each in (first, second)]
    common = [(rows[0][key], rows[1][key]) for key in rows[0] if key in rows[1]]
    agreeing = sum(a.label == b.label for a, b in common)
    return RunComparison(
        [(name, _at(metrics[0], path), _at(metrics[1], path)) for path, name in FIGURES],
        _paired(common),
        agreeing / len(common) if common else None,
    )


def _rows(folder: RunFolder) -> dict[tuple[str, str], Consensus]:
    """By id and text: ids are numbers in a file unless a job names a column, and two files may differ."""
    path = folder.require(folder.labels, step="vote")
    return {(row.document_id, row.text): row for row in stream_records(path, Consensus)}


def _paired(common: list[tuple[Consensus, Consensus]]) -> Paired | None:
    gold = [(a, b) for a, b in common if a.gold_label is not None and a.gold_label == b.gold_label]
    if not gold:
        return None
    right = [[each.label == each.gold_label for each in column] for column in zip(*gold, strict=True)]
    return Paired(len(gold), sum(right[0]), sum(right[1]), statistics.mcnemar_p(*right))


def _at(metrics: Metrics, path: str) -> float | None:
    value: Any = metrics
    for key in path.split("."):
        value = getattr(value, key) if value is not None else None
    figure: float | None = value
    return figure
