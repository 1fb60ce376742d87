"""Charts with numbers on both axes: latency over load, accuracy over texts, operators under a roofline.

Axes are logarithmic, except for shares.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from xpoll.core.formatting import percent
from xpoll.report.charts.bars import Chart, Table, label_colour
from xpoll.report.charts.svg import WIDTH, add, drawing, line, text, written

LEFT, TOP, RIGHT, BOTTOM = 46.0, 26.0, 10.0, 44.0
HEIGHT = 260.0


class Line(NamedTuple):
    """Points that belong together, by ascending x; all values are above 0."""

    name: str
    points: Sequence[tuple[float, float]]


class Dot(NamedTuple):
    """A measured operator: what it is, its x and y, and the group that gives its colour."""

    name: str
    x: float
    y: float
    group: str


class Scale:
    """A logarithmic axis over whole powers of `base`: maps values to pixels."""

    def __init__(self, values: Sequence[float], begin: float, end: float, base: float = 10.0) -> None:
        self._base = base
        self.low = math.floor(math.log(min(values), base) + 1e-9)
        self.high = max(self.low + 1, math.ceil(math.log(max(values), base) - 1e-9))
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        share = (math.log(value, self._base) - self.low) / (self.high - self.low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> list[float]:
        """The powers of the base; every second one, or fewer, where there are many."""
        step = max(1, math.ceil((self.high - self.low) / 7))
        return [self._base**power for power in range(self.low, self.high + 1, step)]

    def label(self, tick: float) -> str:
        """How a tick is written."""
        return f"{tick:g}"


class ShareScale:
    """A linear axis from 0 to 100 %: maps shares to pixels."""

    def __init__(self, begin: float, end: float) -> None:
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        """The pixel of a share, 0 to 1."""
        return self._begin + value * (self._end - self._begin)

    def ticks(self) -> list[float]:
        """Quarters."""
        return [0.0, 0.25, 0.5, 0.75, 1.0]

    def label(self, tick: float) -> str:
        """In percent."""
        return percent(tick, digits=0)


def lines(
    key: str, title: str, rows: Sequence[Line], *, x_name: str, y_name: str, shares: bool = False, dashed: str = ""
) -> Chart:
    """Lines with a dot at each point.

    Args:
        key: Prefix of the drawing's ids.
        title: Name of the chart.
        rows: The lines.
        x_name: Name of the horizontal axis.
        y_name: Name of the vertical axis.
        shares: y goes from 0 to 1 and is shown in percent.
        dashed: Name of a line that was not measured.
    """
    xs, ys = ([point[i] for row in rows for point in row.points] for i in (0, 1))
    shown = percent if shares else "{:.4g}".format
    spoken = "; ".join(f"{row.name}: " + ", ".join(f"{x:g}: {shown(y)}" for x, y in row.points) for row in rows)
    y_scale = ShareScale(HEIGHT - BOTTOM, TOP) if shares else Scale(ys, HEIGHT - BOTTOM, TOP)
    svg, x_scale = _axes(key, title, spoken, xs, y_scale, x_name=x_name, y_name=y_name, x_base=2.0)
    for index, row in enumerate(rows):
        places = [(x_scale(x), y_scale(y)) for x, y in row.points]
        path = "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in places)
        dash = " dashed" if row.name == dashed else ""
        add(svg, "path", d=path, class_=f"line {label_colour(index)}{dash}")
        for x, y in places:
            add(svg, "circle", cx=x, cy=y, r=4, class_=f"dot {label_colour(index)}")
    table = Table([x_name, *(row.name for row in rows)], _by_x(rows, shown))
    return Chart(title, written(svg), table, [(label_colour(i), row.name) for i, row in enumerate(rows)])


def roofline(key: str, title: str, dots: Sequence[Dot], *, peaks: dict[str, float], gb_per_s: float) -> Chart:
    """Operators over their arithmetic intensity, under the measured bandwidth and the measured peaks.

    Args:
        key: Prefix of the drawing's ids.
        title: Name of the chart.
        dots: x in flop per byte, y in Gflop/s.
        peaks: Gflop/s by dtype.
        gb_per_s: Bandwidth.
    """
    corners = [peak / gb_per_s for peak in peaks.values()]
    xs = [*(dot.x for dot in dots), *corners, *(2 * corner for corner in corners)]
    ys = [*(dot.y for dot in dots), *peaks.values()]
    groups = list(dict.fromkeys(dot.group for dot in dots))
    spoken = "; ".join(f"{dot.name}: {dot.y:.4g} Gflop/s at {dot.x:.3g} flop/byte" for dot in dots)
    y_scale = Scale(ys, HEIGHT - BOTTOM, TOP)
    svg, x_scale = _axes(key, title, spoken, xs, y_scale, x_name="flop per byte", y_name="Gflop/s")
    right = 10.0**x_scale.high
    lowest = max(10.0**x_scale.low, 10.0**y_scale.low / gb_per_s)
    for name, peak in sorted(peaks.items(), key=lambda pair: pair[1]):
        corner = peak / gb_per_s
        path = (
            f"M{x_scale(lowest):.2f} {y_scale(lowest * gb_per_s):.2f}"
            f"L{x_scale(corner):.2f} {y_scale(peak):.2f}H{x_scale(right):.2f}"
        )
        line(svg, path, "reference")
        text(svg, x_scale(right), y_scale(peak) - 4, name, "tick", "end")
    for dot in dots:
        add(
            svg,
            "circle",
            cx=x_scale(dot.x),
            cy=y_scale(dot.y),
            r=4,
            class_=f"dot {label_colour(groups.index(dot.group))}",
        )
    rows = [[dot.name, f"{dot.x:.3g}", f"{dot.y:.4g}"] for dot in dots]
    table = Table(["operator", "flop per byte", "Gflop/s"], rows)
    return Chart(title, written(svg), table, [(label_colour(i), group) for i, group in enumerate(groups)])


def _axes(
    key: str,
    title: str,
    spoken: str,
    xs: Sequence[float],
    y_scale: Scale | ShareScale,
    *,
    x_name: str,
    y_name: str,
    x_base: float = 10.0,
) -> tuple[Element, Scale]:
    svg = drawing(key, title, spoken, WIDTH, HEIGHT)
    x_scale = Scale(xs, LEFT, WIDTH - RIGHT, x_base)
    for tick in x_scale.ticks():
        add(svg, "path", d=f"M{x_scale(tick):.2f} {TOP}V{HEIGHT - BOTTOM}", class_="grid")
        text(svg, x_scale(tick), HEIGHT - BOTTOM + 15, x_scale.label(tick), "tick", "middle")
    for tick in y_scale.ticks():
        add(svg, "path", d=f"M{LEFT} {y_scale(tick):.2f}H{WIDTH - RIGHT}", class_="grid")
        text(svg, LEFT - 6, y_scale(tick) + 4, y_scale.label(tick), "tick", "end")
    text(svg, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_name, "tick", "middle")
    text(svg, 0, 14, y_name, "tick")
    return svg, x_scale


def _by_x(rows: Sequence[Line], shown: Callable[[float], str]) -> list[list[str]]:
    values = sorted({x for row in rows for x, _ in row.points})
    cells = [dict(row.points) for row in rows]
    return [[f"{x:g}", *(shown(each[x]) if x in each else "" for each in cells)] for x in values]
