"""Charts as inline SVG: pure functions from numbers to a drawing and the table of the numbers behind it.

Colours and fonts are classes that the page's style sheet gives values to, so that one drawing serves
light, dark and print.
"""

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from xpoll.core.formatting import percent, share_with_interval
from xpoll.core.statistics import Estimate
from xpoll.report.charts.svg import WIDTH, Svg, add, drawing, line, short, text, written

NUM_LABEL_COLOURS = 8
MANY_LABELS = NUM_LABEL_COLOURS
"""Labels up to which each one is drawn in a colour of its own and has a column of its own."""
MOST_BARS = 24
"""Labels that a chart of bars draws, the most frequent first; the table beneath it has all."""
ABSTAINED = "abstained"


class Table(NamedTuple):
    """The numbers behind a chart; the first cell of a row names it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Chart(NamedTuple):
    """A drawing, its numbers, and the (class, word) pairs that explain its colours."""

    title: str
    svg: Svg
    table: Table
    legend: Sequence[tuple[str, str]] = ()


class Bar(NamedTuple):
    """One bar from 0 to `share`, with a 95 % interval where `low` and `high` are given; all in 0..1."""

    name: str
    share: float
    low: float | None = None
    high: float | None = None
    colour: str = "teacher"
    note: str = ""


class Bin(NamedTuple):
    """Answers of one range of confidence: their mean confidence, the share that is right, and how many there are."""

    confidence: float
    right: Estimate
    rows: int


def label_colour(index: int) -> str:
    """Class of a label by its place in the task; colours repeat after NUM_LABEL_COLOURS."""
    return f"label-{index % NUM_LABEL_COLOURS + 1}"


def bars(
    key: str,
    title: str,
    rows: Sequence[Bar],
    *,
    reference: tuple[str, float] | None = None,
    legend: Sequence[tuple[str, str]] = (),
) -> Chart:
    """Horizontal bars on an axis of 0 to 100 %; `reference` draws a dashed line at a share and names it."""
    step, bottom = 46, 46 * len(rows) + 2
    svg = drawing(key, title, "; ".join(map(_spoken, rows)), WIDTH, bottom + (38 if reference else 20))
    _percent_axis(svg, bottom)
    for number, bar in enumerate(rows):
        y = step * number
        text(svg, 0, y + 15, short(bar.name, 24), "name")
        text(svg, WIDTH, y + 15, _figures(bar), "value", "end")
        add(svg, "rect", x=0, y=y + 22, width=WIDTH * bar.share, height=14, class_=f"fill {bar.colour}")
        if bar.low is not None and bar.high is not None:
            low, high = WIDTH * bar.low, WIDTH * bar.high
            line(svg, f"M{low:.2f} {y + 29}H{high:.2f}M{low:.2f} {y + 24}v10M{high:.2f} {y + 24}v10", "whisker")
    if reference:
        name, share = reference
        beside_bars = "".join(f"M{WIDTH * share:.2f} {step * i + 19}v21" for i in range(len(rows)))
        line(svg, f"{beside_bars}M0 {bottom + 28}h22", "reference")
        text(svg, 28, bottom + 32, f"{short(name, 34)}: {percent(share)}", "tick")
    return Chart(title, written(svg), bar_table(rows), legend)


def stacked(key: str, title: str, rows: Sequence[tuple[str, Sequence[float]]], labels: Sequence[str]) -> Chart:
    """One bar per row, split by the shares of the labels, which sum to 1 or are all 0."""
    table = Table(["", *labels], [[name, *map(percent, shares)] for name, shares in rows])
    spoken = (f"{name}: {', '.join(map(' '.join, zip(labels, cells, strict=True)))}" for name, *cells in table.rows)
    svg = drawing(key, title, "; ".join(spoken), WIDTH, 46 * len(rows))
    for number, (name, shares) in enumerate(rows):
        y, x = 46 * number, 0.0
        text(svg, 0, y + 15, short(name, 44), "name")
        for index, share in enumerate(shares):
            width = WIDTH * share
            add(svg, "rect", x=x, y=y + 21, width=width, height=18, class_=f"segment {label_colour(index)}")
            if width >= 36:
                text(svg, x + width / 2, y + 34, percent(share, digits=0), "on-fill", "middle")
            x += width
    return Chart(title, written(svg), table, [(label_colour(i), label) for i, label in enumerate(labels)])


MOST_NAMED = 10
"""Most labels whose names stand above their columns, too."""
MOST_CONFUSED = 30
"""Most labels that a confusion table shows one by one; page and reader hold no thousand columns."""


def _most_confused(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> tuple[list[list[int]], list[str]]:
    """The counts of the labels with most errors, in their order, and of all others together in the last place."""
    if len(labels) <= MOST_CONFUSED:
        return [list(row) for row in counts], list(labels)
    table = np.asarray(counts)
    square = table[:, : len(labels)]
    errors = table.sum(1) + square.sum(0) - 2 * square.diagonal()
    shown = np.sort(np.argsort(-errors, kind="stable")[: MOST_CONFUSED - 1])
    place = np.full(table.shape[1], MOST_CONFUSED - 1)
    place[shown], place[len(labels)] = np.arange(len(shown)), MOST_CONFUSED
    folded = np.zeros((MOST_CONFUSED, MOST_CONFUSED + 1), int)
    np.add.at(folded, (place[: len(labels), None], place[None, :]), table)
    return folded.tolist(), [*(labels[i] for i in shown), f"{len(labels) - len(shown)} others"]


class _Grid(NamedTuple):
    """Sizes of a matrix of counts: where its cells begin, and how wide and high one is."""

    left: float
    top: float
    across: float
    down: float


def confusion(key: str, title: str, counts: Sequence[Sequence[int]], labels: Sequence[str]) -> Chart:
    """Gold labels down, predicted labels and abstentions across; a cell is as dark as its share of its row.

    Of more labels than MOST_CONFUSED those with most errors are shown, and the others as one. Columns of more labels
    than MOST_NAMED have the numbers of their rows.
    """
    right, of_all = sum(row[i] for i, row in enumerate(counts)), sum(map(sum, counts))
    if len(labels) > MOST_CONFUSED:
        title = f"{title} ({MOST_CONFUSED - 1} labels with most errors, of {len(labels)})"
    counts, labels = _most_confused(counts, labels)
    columns, numbered = [*labels, ABSTAINED], len(labels) > MOST_NAMED
    grid = _Grid(170, 42, 30, 24) if numbered else _Grid(84, 42, max(52.0, (WIDTH - 84) / len(columns)), 40)
    spoken = f"{right} of {of_all} gold rows are on the diagonal, where predicted and gold label agree."
    svg = drawing(key, title, spoken, grid.left + grid.across * len(columns), grid.top + grid.down * len(labels) + 2)
    text(svg, 0, 34, "gold", "tick")
    text(svg, grid.left + grid.across * len(columns) / 2, 12, "predicted", "tick", "middle")
    for column, name in enumerate(columns):
        shown = (str(column + 1) if column < len(labels) else "none") if numbered else name
        x = grid.left + grid.across * (column + 0.5)
        text(svg, x, 34, short(shown, int(grid.across / 6.4)), "small-name", "middle")
    for number, (gold, row) in enumerate(zip(labels, counts, strict=True)):
        name = f"{number + 1} {short(gold, 22)}" if numbered else short(gold, 12)
        text(svg, 0, grid.top + grid.down * (number + 0.5) + 5, name, "small-name")
        _counts(svg, grid, number, row, with_zeros=not numbered)
    rows = [[gold, *map(str, row)] for gold, row in zip(labels, counts, strict=True)]
    return Chart(title, written(svg), Table(["gold label", *columns], rows))


def _counts(svg: Element, grid: _Grid, number: int, row: Sequence[int], *, with_zeros: bool) -> None:
    y = grid.top + grid.down * number
    for column, count in enumerate(row):
        x, share = grid.left + grid.across * column, count / (sum(row) or 1)
        box = {"x": x + 1, "y": y + 1, "width": grid.across - 2, "height": grid.down - 2}
        add(svg, "rect", **box, class_="cell")
        if count or with_zeros:
            add(svg, "rect", **box, class_="right" if column == number else "wrong", fill_opacity=0.5 * share)
            text(svg, x + grid.across / 2, y + grid.down / 2 + 5, str(count), "count", "middle")


def reliability(key: str, title: str, bins: Sequence[Bin]) -> Chart:
    """Reliability diagram: share right over stated confidence, with 95 % intervals; on the diagonal they are equal."""
    left, side = 40, WIDTH - 52
    spoken = "; ".join(f"confidence {percent(b.confidence)}: {percent(b.right.value)} of {b.rows} right" for b in bins)
    svg = drawing(key, title, spoken, WIDTH, side + 58)
    for tick in (0, 25, 50, 75, 100):
        x, y = left + side * tick / 100, 8 + side * (1 - tick / 100)
        add(svg, "path", d=f"M{left} {y:.2f}h{side}M{x:.2f} 8v{side}", class_="grid")
        text(svg, left - 6, y + 4, str(tick), "tick", "end")
        text(svg, x, side + 24, str(tick), "tick", "middle")
    text(svg, left + side / 2, side + 46, "stated confidence, %", "tick", "middle")
    text(svg, left + 8, 24, "share right, %", "tick")
    add(svg, "path", d=f"M{left} {8 + side}L{left + side} 8", class_="reference")
    largest = max((b.rows for b in bins), default=1)
    for b in bins:
        x, y = left + side * b.confidence, 8 + side * (1 - b.right.value)
        low, high = 8 + side * (1 - b.right.low), 8 + side * (1 - b.right.high)
        line(svg, f"M{x:.2f} {low:.2f}V{high:.2f}M{x - 5:.2f} {low:.2f}h10M{x - 5:.2f} {high:.2f}h10", "whisker")
        add(svg, "circle", cx=x, cy=y, r=3 + 5 * (b.rows / largest) ** 0.5, class_="dot teacher")
    rows = [_bin_row(b) for b in bins]
    return Chart(title, written(svg), Table(["confidence (mean)", "right", "95 % from", "95 % to", "rows"], rows))


def _percent_axis(svg: Element, bottom: float) -> None:
    for tick in (0, 25, 50, 75, 100):
        x = WIDTH * tick / 100
        add(svg, "path", d=f"M{x:.2f} 20V{bottom}", class_="grid")
        text(svg, x, bottom + 14, f"{tick} %", "tick", {0: "start", 100: "end"}.get(tick, "middle"))


def _figures(bar: Bar) -> str:
    ends = (bar.low, bar.high) if bar.low is not None and bar.high is not None else None
    return share_with_interval(bar.share, ends)


def _spoken(bar: Bar) -> str:
    return f"{bar.name}: {_figures(bar)}"


def bar_table(rows: Sequence[Bar]) -> Table:
    """The numbers of bars; columns that none of them has are left out."""
    columns = {
        "": [bar.name for bar in rows],
        "share": [percent(bar.share) for bar in rows],
        "95 % from": ["" if bar.low is None else percent(bar.low) for bar in rows],
        "95 % to": ["" if bar.high is None else percent(bar.high) for bar in rows],
        "rows": [bar.note for bar in rows],
    }
    used = {name: cells for name, cells in columns.items() if any(cells)}
    return Table(list(used), list(zip(*used.values(), strict=True)))


def _bin_row(b: Bin) -> list[str]:
    return [*map(percent, (b.confidence, b.right.value, b.right.low, b.right.high)), str(b.rows)]
