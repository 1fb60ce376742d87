"""Renders the document of a benchmark suite as an HTML page, beside it as NAME.html.

One self-contained file without scripts, as report.html: checks first, then charts with their numbers, then
every record, then the provenance.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.measurement import COUNTERS
from xpoll.core.files import write_text
from xpoll.core.formatting import number
from xpoll.report.charts.bars import Chart
from xpoll.report.charts.lines import Dot, Line, lines, roofline
from xpoll.report.page import templates

Records = Sequence[Mapping[str, Any]]
LATENCIES = {"first_token": "Time to first token", "per_token": "Time per output token", "latency": "Whole answer"}
USAGE = {"memory_mib": "memory", "open_files": "open files", "threads": "threads"}
HIDDEN = frozenset({*COUNTERS, "part"})


def write_suite_page(document: Mapping[str, Any], path: Path) -> Path:
    """Writes the page of a suite's document; returns `path`."""
    records = document["records"]
    page = (
        templates()
        .get_template("suite.html.jinja")
        .render(
            document=document,
            environment=document["environment"],
            charts=charts_of(records),
            tables=tables_of(records),
            checks=[_check_row(check) for check in document["checks"]],
        )
    )
    write_text(path, page)
    return path


def charts_of(records: Records) -> list[Chart]:
    """Charts of latency and rate over concurrency, and of operators under the roofline, where records have them."""
    return [*_latency_charts(records), *_roofline_chart(records), *_usage_charts(records)]


def _usage_charts(records: Records) -> list[Chart]:
    """What the processes of a long run hold, as a share of the most that each held; a flat line is one that holds."""
    samples = [record for record in records if record.get("arm") == "sample" and record.get("minutes")]
    charts = []
    for process in dict.fromkeys(record["process"] for record in samples):
        own = [record for record in samples if record["process"] == process]
        rows = [Line(title, _shares_of_most(own, figure)) for figure, title in USAGE.items()]
        if shown := [row for row in rows if row.points]:
            title = f"{process.capitalize()}: share of the most it held"
            charts.append(lines(f"usage-{process}", title, shown, x_name="minutes", y_name="share", shares=True))
    return charts


def _shares_of_most(records: Records, figure: str) -> list[tuple[float, float]]:
    most = max(float(record[figure]) for record in records)
    return [(float(record["minutes"]), float(record[figure]) / most) for record in records] if most else []


def _latency_charts(records: Records) -> list[Chart]:
    loads = [record for record in records if record.get("concurrency")]
    charts = []
    for name, title in LATENCIES.items():
        rows = [Line(f"p{p}", _medians(loads, f"{name}_p{p}_ms")) for p in (50, 95, 99)]
        if all(row.points for row in rows):
            charts.append(lines(f"{name}-chart", title, rows, x_name="requests in flight", y_name="ms"))
    rates = {"requests_per_s": "all requests", "goodput_per_s": "within the bounds"}
    rows = [Line(title, _medians(loads, name)) for name, title in rates.items()]
    if shown := [row for row in rows if row.points]:
        charts.append(lines("rate-chart", "Requests per second", shown, x_name="requests in flight", y_name="1/s"))
    return charts


def _medians(records: Records, figure: str) -> list[tuple[float, float]]:
    """Median over the repeats by concurrency, without zeros, which a logarithmic axis cannot show."""
    by_load: dict[float, list[float]] = {}
    for record in records:
        if record.get(figure):
            by_load.setdefault(float(record["concurrency"]), []).append(float(record[figure]))
    return sorted((load, statistics.median(values)) for load, values in by_load.items())


def _roofline_chart(records: Records) -> list[Chart]:
    ceilings = [r for r in records if r.get("role") == "ceiling" and r["status"] == "ok"]
    triad = next((r["gb_per_s"] for r in ceilings if r["kernel"] == "triad"), None)
    peaks = {r["dtype"]: r["gflop_per_s"] for r in ceilings if r["kernel"] == "gemm"}
    dots = [
        Dot(
            f"{r['model']} {r['kernel']} {r['shape']} {r['dtype']}, {r['arm']}",
            r["flop"] / r["moved_bytes"],
            r["flop"] / r["cold_median_us"] / 1e3,
            r["kernel"],
        )
        for r in records
        if r.get("role") == "operator" and r["status"] == "ok" and r["flop"]
    ]
    if triad is None or not peaks or not dots:
        return []
    return [
        roofline(
            "roofline", "Operators with cold caches under the measured roofline", dots, peaks=peaks, gb_per_s=triad
        )
    ]


def tables_of(records: Records) -> list[tuple[str, list[str], list[list[str]]]]:
    """Tables of records, one per part, role and set of keys, as (caption, header, rows)."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        kind = (record.get("part", ""), record.get("role", ""), record.get("status", ""))
        groups.setdefault((*kind, *(key for key in record if key not in HIDDEN)), []).append(record)
    return [
        (
            ", ".join(filter(None, key[:3])) or "records",
            list(key[3:]),
            [[_cell(record[name]) for name in key[3:]] for record in rows],
        )
        for key, rows in groups.items()
    ]


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not (value is None or isinstance(value, int | float)):
        return str(value)
    return number(value)


def _check_row(check: Mapping[str, Any]) -> list[str]:
    bounds = [f"{word.replace('_', ' ')} {check[word]:g}" for word in ("at_least", "at_most") if word in check]
    return [
        check["name"],
        _cell(check["value"]),
        ", ".join(bounds),
        "holds" if check["holds"] else "does not hold",
        check["unit"],
    ]
