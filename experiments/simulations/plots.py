"""Plots of experiments/simulations/README.md: accuracy and calibration error of each method by level, as SVG files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from experiments.simulations.panels import Scenario
from xpoll.benchmarks.runner.records import Record
from xpoll.core.files import write_text
from xpoll.report.charts.svg import add, drawing, text, written

WIDTH, HEIGHT = 720, 300
TOP, BOTTOM, LEFT, PLOT, GAP = 28, 214, 44, 290, 76  # px: where a plot begins and ends; width; between two
COLOURS = ["#c0392b", "#2471a3", "#1e8449", "#b7950b", "#7d3c98"]
DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 4"]  # lines are told apart without colour too
STYLE = """
text { font: 12px sans-serif; fill: #222 } .small { font-size: 11px }
.axis { stroke: #888; fill: none } .grid { stroke: #8884; fill: none }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
"""


def write_plot(path: Path, name: str, scenario: Scenario, records: Sequence[Record]) -> None:
    """Accuracy to the left, calibration error to the right, one line a method."""
    spoken = f"Accuracy and calibration error of {', '.join(scenario.arms)}, by {scenario.level}."
    svg = drawing(name, name, spoken, WIDTH, HEIGHT)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    add(svg, "style").text = STYLE
    _plot(svg, LEFT, "accuracy", scenario, records)
    _plot(svg, LEFT + PLOT + GAP, "ece", scenario, records)
    text(svg, WIDTH / 2, BOTTOM + 36, scenario.level, "small", "middle")
    for i, arm in enumerate(scenario.arms):
        x, y = LEFT + (i % 3) * 226, BOTTOM + 56 + (i // 3) * 18
        _line(svg, f"M{x} {y - 4}h24", i)
        text(svg, x + 30, y, arm, "small")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, written(svg) + "\n")


def _plot(svg: Element, left: float, figure: str, scenario: Scenario, records: Sequence[Record]) -> None:
    values = [record[figure] for record in records]
    low, high = (0.0, max(values)) if figure == "ece" else (min(values), 1.0)
    low, high = (int(20 * low) / 20, -int(-20 * high) / 20 + 0.05 * (figure == "ece"))
    x, y = _scale(scenario.levels[0], scenario.levels[-1], left, left + PLOT), _scale(low, high, BOTTOM, TOP)
    text(svg, left, TOP - 12, {"accuracy": "accuracy", "ece": "calibration error"}[figure], "small")
    for step in range(5):
        value = low + step * (high - low) / 4
        add(svg, "path", d=f"M{left} {y(value):.1f}h{PLOT}", class_="grid")
        text(svg, left - 6, y(value) + 4, f"{value:.2f}", "small", "end")
    for level in scenario.levels:
        text(svg, x(level), BOTTOM + 16, f"{level:g}", "small", "middle")
    add(svg, "path", d=f"M{left} {TOP}V{BOTTOM}h{PLOT}", class_="axis")
    for i, arm in enumerate(scenario.arms):
        points = [f"{x(r['level']):.1f} {y(r[figure]):.1f}" for r in records if r["arm"] == arm]
        _line(svg, "M" + "L".join(points), i)


def _line(svg: Element, path: str, i: int) -> None:
    add(svg, "path", d=path, stroke=COLOURS[i], stroke_width=2, stroke_dasharray=DASHES[i], fill="none")


def _scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    return lambda value: begin + (value - low) / ((high - low) or 1) * (end - begin)
