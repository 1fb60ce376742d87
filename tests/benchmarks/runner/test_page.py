"""The page of a suite shows every figure of its document, escapes what it is given, and draws what is there."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.page import Page
from xpoll.benchmarks.runner.page import charts_of, write_suite_page
from xpoll.report.charts.lines import Line, Scale, lines

HOSTILE = "<script>alert(1)</script>"
OPERATOR = {"role": "operator", "status": "ok", "model": "tiny", "shape": "64 x 64", "dtype": "bf16", "arm": "eager"}


def records() -> list[dict[str, Any]]:
    loads = [
        {
            "arm": f"concurrency {load}",
            "repeat": 0,
            "concurrency": load,
            **{f"{name}_p{p}_ms": load * p for name in ("first_token", "per_token", "latency") for p in (50, 95, 99)},
            "requests_per_s": 3.0 * load,
            "goodput_per_s": 0.0,
        }
        for load in (1, 4, 16)
    ]
    ceiling = {"role": "ceiling", "status": "ok", "shape": "large"}
    return [
        *loads,
        {**ceiling, "kernel": "triad", "dtype": "fp32", "gb_per_s": 30.0},
        {**ceiling, "kernel": "gemm", "dtype": "bf16", "gflop_per_s": 400.0},
        {**OPERATOR, "kernel": "gemm", "flop": 2.0e9, "moved_bytes": 1.0e7, "cold_median_us": 9876.5},
        {**OPERATOR, "kernel": "rms_norm", "flop": 1.0e6, "moved_bytes": 1.0e6, "cold_median_us": 54.3},
        {"role": "operator", "kernel": HOSTILE, "status": "failed", "error": HOSTILE},
    ]


def document() -> dict[str, Any]:
    check = {"name": "requests_per_s", "unit": "1/s", "at_least": 1, "value": 12.0, "holds": True}
    return {
        "suite": "quick",
        "about": "A first look.",
        "started_utc": "2026-11-21T12:00:00Z",
        "parameters": {"repeats": 1, "model": HOSTILE},
        "changed": {},
        "records": records(),
        "environment": {
            "commit": None,
            "dirty": None,
            "processor": "EPYC",
            "cores": 2,
            "memory_gib": 23.5,
            "platform": "Linux",
            "python": "3.11.7",
            "packages": {"torch": "2.13.0"},
        },
        "checks": [check, check | {"name": "absent", "value": None, "holds": False}],
        "complete": True,
    }


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(write_suite_page(document(), tmp_path / "quick.html"))


def test_the_page_is_whole_and_runs_nothing(page: Page) -> None:
    assert page.problems == []
    assert not page.all("script")
    assert not page.all("img")
    assert HOSTILE in page.text
    levels = [level for level, _ in page.headings]
    assert levels == [1, 2, 2, 2, 2]
    ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_checks_and_records_are_shown(page: Page) -> None:
    assert "requests_per_s 12 at least 1 holds 1/s" in page.text
    assert "absent not measured at least 1 does not hold 1/s" in page.text
    assert "9,876" in page.text
    assert "54.3" in page.text
    assert "Commit not known" in page.text


def test_charts_are_drawn_from_what_is_there() -> None:
    titles = [chart.title for chart in charts_of(records())]
    assert titles == [
        "Time to first token",
        "Time per output token",
        "Whole answer",
        "Requests per second",
        "Operators with cold caches under the measured roofline",
    ]
    assert charts_of([{"arm": "rate", "answers_per_s": 3.0}]) == []
    rates = charts_of(records())[3]
    assert [name for _, name in rates.legend] == ["all requests"], "a rate of 0 has no place on the axis"


def test_a_roofline_has_the_operators_own_rate_and_intensity() -> None:
    table = charts_of(records())[-1].table
    assert table.rows[0] == ["tiny gemm 64 x 64 bf16, eager", "200", "202.5"]


def test_a_chart_carries_its_numbers() -> None:
    chart = lines(
        "key", "Title", [Line("p50", [(1, 10.0), (2, 20.0)]), Line("p95", [(2, 40.0)])], x_name="x", y_name="ms"
    )
    assert chart.table.header == ["x", "p50", "p95"]
    assert chart.table.rows == [["1", "10", ""], ["2", "20", "40"]]


@pytest.mark.parametrize(("values", "ticks"), [([1.0, 1000.0], [1, 10, 100, 1000]), ([5.0, 5.0], [1, 10])])
def test_an_axis_spans_whole_powers(values: list[float], ticks: list[float]) -> None:
    scale = Scale(values, 0.0, 100.0)
    assert scale.ticks() == ticks
    assert (scale(ticks[0]), scale(ticks[-1])) == (0.0, pytest.approx(100.0))
