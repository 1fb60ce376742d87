"""synthesis.json: what of a run's texts was kept, what each gate took out, and how far the texts differ."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from xpoll.core.formatting import percent
from xpoll.core.results import Part, Result, read_result
from xpoll.synthesis.diversity import TextDiversity
from xpoll.synthesis.gates.registry import GATES
from xpoll.synthesis.texts import SynthesizedText

OTHER_PROBLEMS = {
    "engine": "the engine has no answer",
    "form": "not of the template's form",
    **{name: gate.about for name, gate in GATES.items()},
    "reply": "the reply is cut off, empty or a refusal",
}
"""What a problem begins with, to what it is, in the order in which texts are looked at."""


class GateFigures(Part):
    """What one gate took out; `seen` are the texts that passed all gates before it."""

    gate: str
    seen: int
    removed: int


class Share(Part):
    """Of the texts of one template, or written for one label."""

    asked: int
    kept: int


class ValueShare(Part):
    """The share of the personas that a value of a column has, 0 to 1: as it was wanted and as it was drawn."""

    wanted: float
    reached: float


class SynthesisFigures(Result):
    """synthesis.json."""

    schema_version: int = 1
    asked: int
    """Texts that were asked for, without those that nobody in particular writes."""
    kept: int
    rounds: int
    """How often texts were asked for."""
    personas: int
    """Different personas whose texts were kept."""
    gates: list[GateFigures]
    templates: dict[str, Share]
    labels: dict[str, Share]
    """By the label that texts were written for; empty where none was."""
    marginals: dict[str, dict[str, ValueShare]] = {}
    """Of the personas that write: column to its values. Empty without synthesis.marginals."""
    with_personas: TextDiversity | None = None
    """Of the texts that passed the gates before those for duplicates; at as many as nobody in particular wrote."""
    without_personas: TextDiversity | None = None
    """Of those that nobody in particular wrote; None where none was asked for."""

    def table(self) -> list[tuple[str, str, str, str]]:
        """Rows of a table: gate, what it takes out, texts taken out, and the share of those it saw."""
        return [
            (
                each.gate,
                OTHER_PROBLEMS[each.gate],
                str(each.removed),
                percent(each.removed / each.seen if each.seen else 0),
            )
            for each in self.gates
        ]


def figures_of(
    texts: Iterable[SynthesizedText], *, gates: Iterable[str], rounds: int, replies: bool
) -> SynthesisFigures:
    """What of some texts was kept, without how far they differ.

    Args:
        texts: All that were asked for.
        gates: Names of the run's gates, in order.
        rounds: How often texts were asked for.
        replies: Whether kept texts are put to the model.
    """
    removed: Counter[str] = Counter()
    asked: dict[str, Counter[str]] = {"template": Counter(), "label": Counter()}
    kept: dict[str, Counter[str]] = {"template": Counter(), "label": Counter()}
    writers: set[str] = set()
    total = 0
    for text in texts:
        if text.is_control:
            continue
        total += 1
        names = {"template": text.template, "label": text.label}
        for what, name in names.items():
            if name is not None:
                asked[what][name] += 1
                kept[what][name] += text.problem is None
        if text.problem is None:
            writers.update({text.persona_id} if text.persona_id else ())
        else:
            removed[text.problem.partition(":")[0]] += 1
    left, rows = total, []
    for name in ("engine", "form", *gates, *(["reply"] if replies else [])):
        rows.append(GateFigures(gate=name, seen=left, removed=removed[name]))
        left -= removed[name]
    shares = {
        what: {name: Share(asked=n, kept=kept[what][name]) for name, n in sorted(counts.items())}
        for what, counts in asked.items()
    }
    return SynthesisFigures(
        asked=total,
        kept=left,
        rounds=rounds,
        personas=len(writers),
        gates=rows,
        templates=shares["template"],
        labels=shares["label"],
    )


def read_figures(path: Path) -> SynthesisFigures:
    """What `xpoll synthesize` wrote.

    Raises:
        RunFolderError: it is missing, damaged, or of another version.
    """
    return read_result(path, SynthesisFigures, step="synthesize")
