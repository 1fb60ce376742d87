"""Agreement matrix of a panel: how often each two personas name the same label; darker is more often."""

from collections.abc import Sequence

from xpoll.core.formatting import percent
from xpoll.report.charts.bars import Chart, Table
from xpoll.report.charts.svg import WIDTH, add, drawing, short, text, written

LEFT, CELL = 118.0, 34.0


def agreement(key: str, title: str, names: Sequence[str], shares: Sequence[Sequence[float | None]]) -> Chart:
    """The agreement matrix.

    Args:
        key: Prefix of the drawing's ids.
        title: Name of the chart.
        names: Personas, for rows and columns alike.
        shares: Square matrix of shares of 0 to 1 in the order of `names`; None is an empty cell.
    """
    across = max(CELL, (WIDTH - LEFT) / max(1, len(names)))
    svg = drawing(key, title, _spoken(names, shares), LEFT + across * len(names), 20 + CELL * len(names))
    known = [share for row in shares for share in row if share is not None]
    least = min(known, default=0.0)
    for number, (name, row) in enumerate(zip(names, shares, strict=True)):
        x, y = LEFT + across * number, 20 + CELL * number
        text(svg, x + across / 2, 14, str(number + 1), "small-name", "middle")
        text(svg, 0, y + 21, f"{number + 1} {short(name, 15)}", "small-name")
        for column, share in enumerate(row):
            x = LEFT + across * column
            box = {"x": x + 1, "y": y + 1, "width": across - 2, "height": CELL - 2}
            add(svg, "rect", **box, class_="cell")
            if share is None:
                continue
            # From the least agreement up, so that panels that agree on nearly all still show a pattern.
            shade = 0.5 * (share - least) / (1 - least) if least < 1 else 0.5
            add(svg, "rect", **box, class_="right", fill_opacity=shade)
            text(svg, x + across / 2, y + 21, f"{100 * share:.0f}", "count", "middle")
    rows = [[name, *(percent(share, none="-") for share in row)] for name, row in zip(names, shares, strict=True)]
    return Chart(title, written(svg), Table(["Persona", *names], rows))


def _spoken(names: Sequence[str], shares: Sequence[Sequence[float | None]]) -> str:
    pairs = [
        (share, f"{names[i]} and {names[j]} {percent(share)}")
        for i, row in enumerate(shares)
        for j, share in enumerate(row[:i])
        if share is not None
    ]
    if not pairs:
        return "No two personas answer the same document."
    return f"Least: {min(pairs)[1]}; most: {max(pairs)[1]}."
