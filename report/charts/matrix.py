"""Agreement matrix of a panel: how often each two personas name the same label; darker is more often."""

from collections.abc import Sequence

from xpoll.core.formatting import percent
from xpoll.report.charts.bars import Chart, Table
from xpoll.report.charts.svg import WIDTH, add, drawing, short, text, written

LEFT, CELL = 118.0, 34.0
MOST_PAIRED = 60
"""Personas whose agreement in pairs is drawn."""
MOST_NUMBERED = 16
"""Personas up to which a cell has its number; of more it is a heat map."""
TILE, SHADES = 14.0, 16


def agreement(key: str, title: str, names: Sequence[str], shares: Sequence[Sequence[float | None]]) -> Chart:
    """The agreement matrix.

    Args:
        key: Prefix of the drawing's ids.
        title: Name of the chart.
        names: Personas, for rows and columns alike.
        shares: Square matrix of shares of 0 to 1 in the order of `names`; None is an empty cell.
    """
    if len(names) > MOST_NUMBERED:
        return _heat_map(key, title, names, shares)
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
    return Chart(title, written(svg), _table(names, shares))


def _heat_map(key: str, title: str, names: Sequence[str], shares: Sequence[Sequence[float | None]]) -> Chart:
    """The matrix as tiles, one path for each of SHADES: as darker is more often, from the least agreement up."""
    svg = drawing(key, title, _spoken(names, shares), LEFT + TILE * len(names), 20 + TILE * len(names))
    known = [share for row in shares for share in row if share is not None]
    least = min(known, default=0.0)
    tiles: dict[int, list[str]] = {}
    for number, (name, row) in enumerate(zip(names, shares, strict=True)):
        text(svg, LEFT + TILE * (number + 0.5), 14, str(number + 1), "tiny-name", "middle")
        text(svg, 0, 20 + TILE * number + 11, f"{number + 1} {short(name, 18)}", "tiny-name")
        for column, share in enumerate(row):
            if share is not None:
                shade = round(SHADES * (share - least) / (1 - least)) if least < 1 else SHADES
                tiles.setdefault(shade, []).append(f"M{LEFT + TILE * column:g} {20 + TILE * number:g}h13v13h-13z")
    for shade, paths in sorted(tiles.items()):
        add(svg, "path", d="".join(paths), class_="right", fill_opacity=0.04 + 0.96 * shade / SHADES)
    return Chart(title, written(svg), _table(names, shares))


def _table(names: Sequence[str], shares: Sequence[Sequence[float | None]]) -> Table:
    rows = [[name, *(percent(share, none="-") for share in row)] for name, row in zip(names, shares, strict=True)]
    return Table(["Persona", *names], rows)


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
