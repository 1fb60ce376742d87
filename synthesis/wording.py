"""The figures of a synthesis in words, for terminal and data card."""

from collections.abc import Sequence

from xpoll.core.formatting import NOT_MEASURED, counted, number, percent
from xpoll.synthesis.diversity import TextDiversity
from xpoll.synthesis.figures import SynthesisFigures


def synthesis_lines(figures: SynthesisFigures) -> list[str]:
    """What was kept, what each gate took out, and how far the texts differ, line by line."""
    share = percent(figures.kept / figures.asked if figures.asked else 0)
    lines = [
        f"{counted(figures.asked, 'text')} asked for, {number(figures.kept)} kept ({share}), "
        f"by {counted(figures.personas, 'persona')}"
    ]
    rows = [("gate", "takes out", "texts", "of those seen"), *figures.table()]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines += [
        f"  {name:{widths[0]}}  {about:{widths[1]}}  {removed:>{widths[2]}}  {seen:>{widths[3]}}"
        for name, about, removed, seen in rows
    ]
    if len(figures.labels) > 1:
        kept = [share.kept for share in figures.labels.values()]
        lines.append(f"labels: {len(kept)}, with {min(kept)} to {max(kept)} texts kept each")
    return [*lines, *diversity_lines(figures)]


def diversity_lines(figures: SynthesisFigures) -> list[str]:
    """How far the texts differ, beside those that nobody in particular wrote."""
    arms = {"with personas": figures.with_personas, "without personas": figures.without_personas}
    return [f"{name}: {_differ(found)}" for name, found in arms.items() if found and found.distinct_1 is not None]


def diversity_rows(figures: SynthesisFigures) -> list[Sequence[str]]:
    """The same as rows of a table, one for each arm."""
    arms = {"with personas": figures.with_personas, "without personas": figures.without_personas}
    return [
        (
            name,
            str(found.texts),
            *map(_figure, (found.distinct_1, found.distinct_2, found.self_bleu, found.mean_distance)),
        )
        for name, found in arms.items()
        if found and found.distinct_1 is not None
    ]


def _differ(found: TextDiversity) -> str:
    return (
        f"of {counted(found.texts, 'text')} distinct-1 {_figure(found.distinct_1)}, "
        f"distinct-2 {_figure(found.distinct_2)}, self-BLEU {_figure(found.self_bleu)}, "
        f"mean cosine distance {_figure(found.mean_distance)}"
    )


def _figure(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.3f}"
