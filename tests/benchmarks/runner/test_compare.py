"""What may be kept as a result, and how two results are held against each other."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from xpoll.benchmarks.runner import compare as module
from xpoll.benchmarks.runner.compare import compare, read_document, read_tolerances
from xpoll.benchmarks.runner.measurement import Measurement, Provenance, RefusedError, measurements_of
from xpoll.benchmarks.runner.suite import suite_names
from xpoll.core.errors import InputError
from xpoll.core.files import write_json
from xpoll.scripts.cli import main

PROVENANCE = Provenance("abc", False, "2026-01-01T00:00:00Z", "EPYC", 2, "none", {"torch": "2.13"}, {"repeats": 3})


def document(*rates: float, commit: str | None = "abc", processor: str = "EPYC", **more: Any) -> dict[str, Any]:
    records = [{"arm": "rate", "repeat": i, "answers_per_s": rate, **more} for i, rate in enumerate(rates)]
    environment = {"commit": commit, "dirty": False, "processor": processor, "cores": 2, "packages": {}}
    about = {"suite": "dispatcher", "started_utc": "2026-01-01T00:00:00Z", "parameters": {"repeats": len(rates)}}
    return {**about, "records": records, "environment": environment}


def test_a_run_without_a_commit_is_refused() -> None:
    with pytest.raises(RefusedError, match="without a commit"):
        measurements_of(document(1.0, commit=None))


@pytest.mark.parametrize(
    ("values", "status", "error", "said"),
    [
        ((1.0,), "failed", "device lost", "it failed, so its numbers"),
        ((), "failed", "", "failed without a reason"),
        ((), "ok", "", "no numbers and did not fail"),
        ((1.0, math.nan), "ok", "", "not all finite"),
    ],
)
def test_what_is_no_measurement_is_refused(values: tuple[float, ...], status: Any, error: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        Measurement("suite", "arm", "figure", values, status, error, PROVENANCE)


def test_repeats_of_an_arm_become_one_measurement_with_its_spread() -> None:
    (found,) = measurements_of(document(30.0, 10.0, 20.0))
    assert (found.what, found.figure, found.values) == ("rate", "answers_per_s", (30.0, 10.0, 20.0))
    assert (found.median, found.percentile(5), found.percentile(95)) == (20.0, 11.0, 29.0)


def test_a_record_that_failed_is_kept_with_its_reason_and_refused_with_numbers() -> None:
    failed = document(1.0)
    failed["records"] = [{"arm": "rate", "status": "failed", "error": "device lost"}]
    (kept,) = measurements_of(failed)
    assert (kept.status, kept.error, kept.values) == ("failed", "device lost", ())
    with pytest.raises(RefusedError, match="it failed"):
        measurements_of(document(5.0, status="failed", error="device lost"))


@pytest.mark.parametrize(
    ("after", "verdict", "holds"), [(95.0, "same", True), (111.0, "better", True), (89.0, "worse", False)]
)
def test_a_figure_is_judged_by_its_tolerance(after: float, verdict: str, holds: bool) -> None:
    comparison = compare(document(100.0), document(after))
    (difference,) = comparison.differences
    assert (difference.verdict, comparison.holds, comparison.notes) == (verdict, holds, [])


def test_less_is_better_where_the_tolerance_says_so_and_other_figures_are_not_judged() -> None:
    before = document(100.0, driver_peak_memory_mib=100.0, cores=2)
    after = document(100.0, driver_peak_memory_mib=80.0, cores=2)
    verdicts = {each.figure: each.verdict for each in compare(before, after).differences}
    assert verdicts == {"answers_per_s": "same", "driver_peak_memory_mib": "better", "cores": "not judged"}


def test_a_figure_that_is_gone_does_not_hold() -> None:
    after = document(100.0)
    del after["records"][0]["answers_per_s"]
    comparison = compare(document(100.0), after)
    assert ([each.verdict for each in comparison.differences], comparison.holds) == (["gone"], False)


def test_what_makes_two_documents_hard_to_compare_is_said() -> None:
    comparison = compare(document(1.0), document(1.0, 1.0, processor="Xeon"))
    assert comparison.notes == ["processor: EPYC and Xeon", "parameters differ: repeats"]
    with pytest.raises(InputError, match="different suites"):
        compare(document(1.0), document(1.0) | {"suite": "kill"})


def test_the_command_prints_verdicts_and_fails_where_one_is_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for name, rate in zip(names, (100.0, 80.0), strict=True):
        write_json(Path(name), document(rate))
    assert main(["bench", "compare", *names]) == 1
    assert "worse   rate: answers_per_s 100 -> 80 (-20.0 %, tolerance 10 %)" in capsys.readouterr().out
    assert main(["bench", "compare", names[0], names[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["holds"] is True


@pytest.mark.parametrize(
    ("files", "said"),
    [([], "compare takes two files, got 0"), (["nothing.json"] * 2, "there is no file nothing.json")],
)
def test_a_mistake_is_one_line(files: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "compare", *files]) == 2
    assert said in capsys.readouterr().err


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "other.json", [1])
    with pytest.raises(InputError, match="was not written by xpoll bench"):
        read_document(str(tmp_path / "other.json"))


def test_every_tolerance_is_of_a_suite_and_every_baseline_is_a_measurement() -> None:
    assert read_tolerances().keys() <= set(suite_names())
    for path in module.BASELINES.glob("*.json"):
        assert measurements_of(read_document(path.stem)), path
