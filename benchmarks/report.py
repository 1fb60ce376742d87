"""report.html: a run on one page, for people.

Reads config.resolved.json, environment.json, metrics.json, evaluation.json (where there is one),
labels.parquet and votes.parquet. Writes report.html: one file that loads nothing and runs nothing, the
same bytes for the same inputs. Text of documents, models and files is hostile and always escaped.
Labels and votes are streamed; kept are the id of a document and a number for each of its votes, and the
text of gold rows and of the sample.
"""

import hashlib
import heapq
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks import charts
from benchmarks.charts import ABSTAINED, Bar, Bin, Chart, label_colour, percent
from core import statistics
from core.files import read_json, write_text
from core.records import Consensus, Vote, from_table
from core.run_folder import RunFolder

T = TypeVar("T")

Use = Literal["unknown", "blind", "worse than its teacher", "for sorting only", "may be used"]
"""What a student may be used for."""

NOT_MEASURED = "not measured"
WEAK_BELOW = 0.8
BINS = 10  # as many as the calibration error in evaluation.json is over
RATERS = {"teacher_raw": "raw majority", "teacher": "voted teacher", "student": "student"}
COLOURS = {"teacher_raw": "raw", "teacher": "teacher", "student": "student"}


class Verdict(NamedTuple):
    """What the scores say of teacher and student; the page puts it into words.

    `blind` means not shown to do better than always answering `frequent_label`, the label of most gold
    rows. `give_or_take` is half the width of the teacher's interval, in points.
    """

    weak: bool
    blind: bool
    wrong_of_100: int
    give_or_take: int
    frequent_label: str
    frequent_share: float
    calibration_p: float
    student: Use


class Reason(NamedTuple):
    """A stated reason and the persona that states it; `agrees` where its vote names the document's label."""

    persona: str
    text: str
    agrees: bool


class Persona(NamedTuple):
    """How one persona answers. `with_label` and `with_raw` are its agreement with the voted label and raw majority."""

    name: str
    answers: int
    parsed: int
    unparsable: int
    errors: int
    mix: list[float | None]
    with_label: float | None
    with_raw: float | None


def write_report(folder: RunFolder) -> Path:
    """Writes the page of a run and returns where it is.

    Raises:
        RunFolderError: an input is missing, or the page cannot be written.
    """
    config = read_json(folder.require(folder.config, step="run"))
    labels = list(config["task"]["labels"])
    decisions = Decisions(folder.require(folder.labels, step="vote"), labels, config["report"]["sample_rows"])
    panel = Panel(folder.require(folder.votes, step="vote"), labels, decisions, config["panel"])
    metrics = read_json(folder.require(folder.metrics, step="report"))
    evaluation = (read_json(folder.evaluation) if folder.evaluation.exists() else None) or {}
    scores = {rater: evaluation.get(rater) for rater in RATERS}
    template = _templates().get_template("report.html.jinja")
    page = template.render(
        config=config,
        environment=read_json(folder.require(folder.environment, step="poll")),
        metrics=metrics,
        evaluation=evaluation,
        labels=labels,
        scores={rater: score for rater, score in scores.items() if score},
        raters=RATERS,
        verdict=verdict(evaluation, decisions.gold),
        decisions=decisions,
        panel=panel,
        charts=_charts(evaluation, labels, decisions, panel),
    )
    write_text(folder.report, page)
    return folder.report


class Decisions:
    """labels.parquet, read once: the label of every document as a number, the gold rows, and a sample of the texts."""

    def __init__(self, path: Path, labels: Sequence[str], sample_rows: int) -> None:
        code: dict[str | None, int] = {label: i for i, label in enumerate(labels)} | {None: -1}
        self.row_of: dict[str, int] = {}
        self.abstained: Counter[str] = Counter()
        self.gold: list[Consensus] = []
        final, raw = [], []
        sampler = _Sampler(labels, sample_rows)
        for row in _stream(path, Consensus):
            self.row_of[row.document_id] = len(self.row_of)
            final.append(code[row.label])
            raw.append(code[row.raw_label])
            if row.label is None:
                self.abstained[row.abstained or "no reason given"] += 1
            if row.split == "gold" and row.gold_label is not None:
                self.gold.append(row)
            sampler.offer(row)
        self.final, self.raw = np.array(final, np.int16), np.array(raw, np.int16)
        self.sample = sampler.chosen()


class _Sampler:
    """Equally many rows of every label and of the abstentions, as far as there are any.

    Rows are ranked by a hash of their id: the choice looks random, is the same in every run, and does
    not depend on how many rows there are.
    """

    def __init__(self, labels: Sequence[str], rows: int) -> None:
        self._rows = rows
        self._heaps: dict[str | None, list[tuple[int, str, int, Consensus]]] = {label: [] for label in [*labels, None]}
        self._offered = 0

    def offer(self, row: Consensus) -> None:
        self._offered += 1  # ends every tie, so that the heap never compares two rows
        rank = int.from_bytes(hashlib.sha256(row.document_id.encode()).digest()[:8])
        heap = self._heaps[row.label]
        heapq.heappush(heap, (-rank, row.document_id, self._offered, row))
        if len(heap) > self._rows:
            heapq.heappop(heap)

    def chosen(self) -> list[Consensus]:
        """The sample, label by label in the task's order."""
        by_label = [[row for *_, row in sorted(heap, key=lambda ranked: -ranked[0])] for heap in self._heaps.values()]
        taken = [0] * len(by_label)
        while sum(taken) < min(self._rows, sum(map(len, by_label))):
            for number, rows in enumerate(by_label):
                if taken[number] < len(rows) and sum(taken) < self._rows:
                    taken[number] += 1
        return [row for rows, n in zip(by_label, taken, strict=True) for row in rows[:n]]


class Panel:
    """votes.parquet, read once: how each persona answers, how much two of them agree, and reasons for the sample."""

    def __init__(self, path: Path, labels: Sequence[str], decisions: Decisions, panel: Mapping[str, Any]) -> None:
        code = {label: i for i, label in enumerate(labels)}
        sampled = {row.document_id: row.label for row in decisions.sample}
        blank = np.full((len(decisions.row_of), panel["samples"]), -1, np.int16)
        votes: dict[str, np.ndarray] = {}
        tallies: dict[str, Counter[str]] = {}
        self.unparsable: Counter[str] = Counter()
        self.reasons: dict[str, Reason] = {}
        for vote in _stream(path, Vote):
            if vote.persona_id not in votes:
                votes[vote.persona_id], tallies[vote.persona_id] = blank.copy(), Counter()
            kind = _kind(vote)
            tallies[vote.persona_id][kind] += 1
            if kind == "unparsable":
                self.unparsable[str(vote.unparsable)] += 1
            if vote.label is not None:
                votes[vote.persona_id][decisions.row_of[vote.document_id], vote.sample] = code[vote.label]
            if vote.stated_reason and vote.document_id in sampled:
                self._keep_reason(vote, agrees=vote.label is not None and vote.label == sampled[vote.document_id])
        order = {name: i for i, name in enumerate(panel["personas"])}
        names = sorted(votes, key=lambda name: (order.get(name, len(order)), name))
        self.personas = [_persona(name, votes[name], tallies[name], decisions, len(labels)) for name in names]
        self.agreement = [[_agreement(votes[a], votes[b], same=a == b) for b in names] for a in names]

    def _keep_reason(self, vote: Vote, *, agrees: bool) -> None:
        kept = self.reasons.get(vote.document_id)
        if kept is None or (agrees and not kept.agrees):
            self.reasons[vote.document_id] = Reason(vote.persona_id, str(vote.stated_reason), agrees)

    @property
    def mean_agreement(self) -> float | None:
        """Mean over all pairs of different personas; None where no pair answers the same document."""
        pairs = [share for i, row in enumerate(self.agreement) for share in row[:i] if share is not None]
        return sum(pairs) / len(pairs) if pairs else None


def _kind(vote: Vote) -> str:
    if vote.label is not None:
        return "parsed"
    return "error" if (vote.unparsable or "").startswith("error: ") else "unparsable"


def _persona(name: str, votes: np.ndarray, tally: Mapping[str, int], decisions: Decisions, num_labels: int) -> Persona:
    counts = np.bincount(votes[votes >= 0], minlength=num_labels)
    parsed, unparsable, errors = tally["parsed"], tally["unparsable"], tally["error"]
    mix = [int(count) / parsed if parsed else None for count in counts]
    with_label, with_raw = (_agreement(votes, d[:, None]) for d in (decisions.final, decisions.raw))
    return Persona(name, parsed + unparsable, parsed, unparsable, errors, mix, with_label, with_raw)


def _agreement(first: np.ndarray, second: np.ndarray, *, same: bool = False) -> float | None:
    """Share of the pairs of answers to one document that name the same label; None without a pair.

    With `same` both are one persona, whose answer is not paired with itself.
    """
    pairs = agreeing = 0
    for s in range(first.shape[1]):
        for t in range(s + 1 if same else 0, second.shape[1]):
            both = (first[:, s] >= 0) & (second[:, t] >= 0)
            pairs += int(both.sum())
            agreeing += int((both & (first[:, s] == second[:, t])).sum())
    return agreeing / pairs if pairs else None


def verdict(evaluation: Mapping[str, Any], gold: Sequence[Consensus]) -> Verdict | None:
    """What the scores allow to say, and no more; None without scores."""
    teacher = evaluation.get("teacher")
    if not teacher:
        return None
    label, share = _most_frequent(evaluation["labels"], teacher["confusion"])
    low, high = teacher["accuracy_ci95"]
    return Verdict(
        weak=teacher["accuracy"] < WEAK_BELOW,
        blind=low <= share,
        wrong_of_100=round(100 * (1 - teacher["accuracy"])),
        give_or_take=round(50 * (high - low)),
        frequent_label=label,
        frequent_share=share,
        calibration_p=statistics.mcnemar_p(
            [row.label == row.gold_label for row in gold], [row.raw_label == row.gold_label for row in gold]
        ),
        student=_use_of(evaluation, share),
    )


def _use_of(evaluation: Mapping[str, Any], frequent_share: float) -> Use:
    student, comparison = evaluation.get("student"), evaluation.get("comparison")
    if not student or not comparison:
        return "unknown"
    if student["accuracy_ci95"][0] <= frequent_share:
        return "blind"
    if comparison["difference"] < 0 and not comparison["within_noise"]:
        return "worse than its teacher"
    return "for sorting only" if evaluation["teacher"]["accuracy"] < WEAK_BELOW else "may be used"


def _most_frequent(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> tuple[str, float]:
    rows = [sum(row) for row in confusion]
    return labels[rows.index(max(rows))], max(rows) / sum(rows)


def _charts(
    evaluation: Mapping[str, Any], labels: Sequence[str], decisions: Decisions, panel: Panel
) -> dict[str, Chart]:
    """The drawings by the name under which the templates look for them; one without numbers is left out."""
    drawn = {"label_mix": _label_mix(labels, decisions)}
    if panel.personas:
        drawn["persona_mix"] = _persona_mix(labels, decisions, panel)
    scores = {rater: evaluation[rater] for rater in RATERS if evaluation.get(rater)}
    if scores:
        label, share = _most_frequent(evaluation["labels"], next(iter(scores.values()))["confusion"])
        reference = (f"always '{label}'", share)
        drawn["accuracy"] = charts.bars("accuracy", "Accuracy", _bars(scores, "accuracy"), reference=reference)
        drawn["f1_macro"] = charts.bars("f1", "Macro F1", _bars(scores, "f1_macro"))
    for rater in [rater for rater in ("teacher", "student") if rater in scores]:
        title = f"Confusion matrix of the {RATERS[rater]}"
        counts = scores[rater]["confusion"]
        drawn[f"confusion_{rater}"] = charts.confusion(f"confusion-{rater}", title, counts, evaluation["labels"])
    if bins := _bins(decisions.gold):
        drawn["reliability"] = charts.reliability("reliability", "Reliability of the teacher's confidence", bins)
    return drawn


def _bars(scores: Mapping[str, Any], name: str) -> list[Bar]:
    bars = []
    for rater, score in scores.items():
        low, high = score[f"{name}_ci95"]
        bars.append(Bar(RATERS[rater], score[name], low, high, COLOURS[rater]))
    return bars


def _persona_mix(labels: Sequence[str], decisions: Decisions, panel: Panel) -> Chart:
    rows = [(persona.name, [share or 0.0 for share in persona.mix]) for persona in panel.personas]
    voted = np.bincount(decisions.final[decisions.final >= 0], minlength=len(labels))
    rows.append(("voted labels", (voted / max(1, voted.sum())).tolist()))
    return charts.stacked("persona-mix", "Label mix of each persona", rows, labels)


def _label_mix(labels: Sequence[str], decisions: Decisions) -> Chart:
    total = max(1, len(decisions.final))
    rows = []
    for index, label in [*enumerate(labels), (-1, ABSTAINED)]:
        for word, colour, codes in (("raw", "raw", decisions.raw), ("voted", "teacher", decisions.final)):
            count = int((codes == index).sum())
            rows.append(Bar(f"{label}, {word}", count / total, colour=colour, note=f"{count:,}"))
    legend = [("raw", "raw majority"), ("teacher", "voted label")]
    return charts.bars("label-mix", "Labels of all documents, raw majority and voted", rows, legend=legend)


def _bins(gold: Sequence[Consensus]) -> list[Bin]:
    """The decided gold rows by the voted label's confidence, in equally wide bins; empty bins are left out."""
    by_bin: dict[int, list[Consensus]] = {}
    for row in gold:
        if row.label is not None:
            by_bin.setdefault(min(BINS - 1, int(row.confidence * BINS)), []).append(row)
    return [
        Bin(
            sum(row.confidence for row in rows) / len(rows),
            statistics.accuracy([row.label for row in rows], [str(row.gold_label) for row in rows]),
            len(rows),
        )
        for _, rows in sorted(by_bin.items())
    ]


def number(value: float | None) -> str:
    """Counts in full, other figures with three to four digits; "not measured" for None."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def duration(seconds: float | None) -> str:
    """Seconds, and from two minutes on also hours and minutes."""
    if seconds is None or seconds < 120:
        return NOT_MEASURED if seconds is None else f"{number(seconds)} s"
    minutes = round(seconds / 60)
    spoken = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    return f"{number(round(seconds))} s (about {spoken})"


def ratio(part: float | None, whole: float | None) -> float | None:
    """`part` over `whole`; None where either was not measured or `whole` is 0."""
    return part / whole if part is not None and whole else None


def visible(text: str, length: int = 600) -> str:
    """Text of a document, cut, with control characters shown as their pictures."""
    shown = text if len(text) <= length else f"{text[:length]}\u2026 ({len(text):,} characters)"
    return "".join(chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\n\t" else c for c in shown)


def _stream(path: Path, record: type[T]) -> Iterator[T]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=8192):
            yield from from_table(pa.Table.from_batches([batch]), record)


def _templates() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "number": number, "duration": duration, "visible": visible}
    environment.filters["percent_or_dash"] = lambda share: "-" if share is None else percent(share)
    environment.filters["counted"] = lambda pair: (pair[0], number(pair[1]))
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%").replace("p = ", "p\u00a0=\u00a0")
    environment.filters["as_json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    environment.globals |= {"label_colour": label_colour, "ratio": ratio, "NOT_MEASURED": NOT_MEASURED}
    return environment
