"""Suites are found by name, measured in turn, and a bound that does not hold is reported."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Xpoll
from xpoll.benchmarks import suites
from xpoll.benchmarks.runner.records import Record, alternating
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.runner.suite import AGGREGATES, check, find_suite, read_suite, run_suite, suite_names
from xpoll.benchmarks.suites import journal, quick
from xpoll.core.errors import ConfigError, EngineError
from xpoll.core.files import read_json
from xpoll.scripts.cli import main


def test_every_suite_has_a_runner_and_bounds_and_the_other_way_round() -> None:
    (folder,) = suites.__path__
    assert suite_names() == sorted(path.stem for path in Path(folder).glob("[!_]*.py"))
    for name in suite_names():
        read = read_suite(name)
        assert read["about"]
        assert read["parameters"].keys() & {"repeats", "runs", "seed", "seeds", "audits", "trials"}
        assert all({"name", "unit"} < each.keys() & {"name", "unit", "at_least", "at_most"} for each in read["checks"])
        assert {each.get("over", "median") for each in read["checks"]} <= {*AGGREGATES, "all"}


def test_what_may_be_chosen_is_what_the_code_knows() -> None:
    from xpoll.kernels_bench.cases import DTYPES
    from xpoll.kernels_bench.shapes import SHAPES

    chosen = {name: read_suite(name).get("choices", {}) for name in suite_names()}
    assert set(chosen["kernels"]["models"]) == set(SHAPES)
    assert set(chosen["kernels"]["dtypes"]) == set(DTYPES)
    assert set(chosen["journal"]["arms"]) == set(journal.JOURNALS)
    assert set(chosen["quick"]["parts"]) == set(quick.PARTS)
    for name in suite_names():
        parameters = read_suite(name)["parameters"]
        assert all(set(parameters[key]) <= set(known) for key, known in chosen[name].items())


def test_a_check_is_over_the_median_unless_it_says_otherwise() -> None:
    records: list[Record] = [{"rate": 5.0}, {"arm": "without a rate"}, {"rate": 30.0}, {"rate": 20.0}]
    bound = {"name": "rate", "unit": "1/s"}
    assert check({**bound, "at_least": 20}, records)["holds"]
    assert not check({**bound, "at_least": 21}, records)["holds"]
    assert not check({**bound, "at_most": 19}, records)["holds"]
    found = check(bound, records)
    assert (found["value"], found["lowest"], found["highest"]) == (20.0, 5.0, 30.0)
    over = {how: check({**bound, "over": how}, records)["value"] for how in ("sum", "min", "max")}
    assert over == {"sum": 55.0, "min": 5.0, "max": 30.0}


def test_all_means_that_the_worst_record_holds() -> None:
    records: list[Record] = [{"lost": 0}, {"lost": 2}]
    found = check({"name": "lost", "unit": "answers", "at_most": 0, "over": "all"}, records)
    assert (found["value"], found["holds"]) == (2.0, False)
    assert check({"name": "lost", "unit": "answers", "at_most": 2, "over": "all"}, records)["holds"]
    both = check({"name": "lost", "unit": "answers", "at_least": 0, "at_most": 1, "over": "all"}, records)
    assert not both["holds"]


def test_a_figure_that_was_not_measured_holds_no_bound() -> None:
    found = check({"name": "rate", "unit": "1/s", "at_least": 0}, [{"rate": None}])
    assert (found["value"], found["holds"]) == (None, False)


def test_arms_are_measured_in_turn_and_each_is_first_as_often_as_last() -> None:
    records = alternating({"arms": ["a", "b"], "repeats": 2}, lambda arm, repeat: {"is": f"{arm}{repeat}"})
    assert [record["is"] for record in records] == ["a0", "b0", "b1", "a1"]


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new suite, made of two files: it yields `runs` records, and fails after them if it is told to."""
    (tmp_path / "counting.py").write_text(
        '"""Counts."""\n'
        "def measure(parameters):\n"
        "    yield from ({'number': i} for i in range(parameters['runs']))\n"
        "    if parameters['fails']:\n"
        "        raise RuntimeError('stopped')\n"
        "def finish(document):\n"
        "    open('finished', 'w').write(document['suite'])\n"
    )
    (tmp_path / "counting.toml").write_text(
        """
        about = "Counts."
        [parameters]
        runs = 3
        fails = false
        arms = ["a"]
        share = 0.5
        [choices]
        arms = ["a", "b"]
        [[checks]]
        name = "number"
        unit = "records"
        at_least = 1
        """
    )
    monkeypatch.setattr(suites, "__path__", [*suites.__path__, str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    yield "counting"
    sys.modules.pop("xpoll.benchmarks.suites.counting", None)


def test_to_add_a_suite_is_a_file_of_code_and_one_of_bounds(counting: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert counting in suite_names()
    assert main(["bench"]) == 0
    assert "counting: Counts.\n    number: at least 1 records\n    parameters: runs = 3" in capsys.readouterr().out
    assert main(["bench", counting]) == 0
    assert Path("finished").read_text() == counting, "a suite's own `finish` is called once its run is complete"


def test_the_document_is_written_and_says_which_parameters_were_changed(counting: str) -> None:
    result = run_suite(find_suite(counting), overrides=["parameters.runs=5", "parameters.share=1"])
    assert [record["number"] for record in result["records"]] == [0, 1, 2, 3, 4]
    assert result["changed"] == {"runs": 5, "share": 1}
    assert {"suite", "records", "environment", "checks"} <= result.keys()
    assert [(each["name"], each["value"], each["holds"]) for each in result["checks"]] == [("number", 2, True)]
    (written,) = Path("runs/bench").glob("counting-*.json")
    assert read_json(written) == result


def test_bounds_of_parts_that_are_not_measured_are_not_asked_for(counting: str) -> None:
    text = find_suite(counting).file.read_text()
    parts = '[[checks]]\nname = "absent"\nunit = ""\nat_least = 1\npart = "b"\n'
    find_suite(counting).file.write_text(text.replace("[parameters]", '[parameters]\nparts = ["a", "b"]') + parts)
    assert [each["holds"] for each in run_suite(find_suite(counting))["checks"]] == [True, False]
    only_a = run_suite(find_suite(counting), overrides=['parameters.parts=["a"]'])
    assert [each["name"] for each in only_a["checks"]] == ["number"]


def test_a_suite_that_is_stopped_keeps_its_records(counting: str) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        run_suite(find_suite(counting), overrides=["parameters.fails=true"], output=Path("here.json"))
    kept = read_json(Path("here.json"))
    assert (len(kept["records"]), kept["checks"], kept["complete"]) == (3, [], False)
    assert not Path("finished").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("parameters.run=5", "unknown parameter parameters.run -> did you mean parameters.runs?"),
        ("engine.runs=5", "unknown parameter engine.runs"),
        ("parameters.runs=many", "must be of the type of 3"),
        ("parameters.fails=1", "must be of the type of False"),
        ("parameters.arms=['a', 'c']", "parameters.arms: there is no 'c' -> known: a, b"),
        ("parameters.arms=[]", "parameters.arms names none -> known: a, b"),
    ],
)
def test_a_wrong_override_is_one_line(counting: str, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        run_suite(find_suite(counting), overrides=[override])
    assert said in str(error.value)


def test_a_bound_that_does_not_hold_is_exit_code_1(counting: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", counting]) == 0
    assert "number: median 1 records (0 to 2), at least 1: holds" in capsys.readouterr().out
    assert main(["bench", counting, "--set", "parameters.runs=1"]) == 1
    said = capsys.readouterr().out
    assert "changed: runs = 1" in said
    assert "at least 1: DOES NOT HOLD" in said


def test_an_unknown_suite_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no suite 'nothing' -> known suites: audits, backends, chaos"):
        find_suite("nothing")


def test_without_a_name_the_suites_are_listed_with_their_bounds(xpoll: Xpoll) -> None:
    done = xpoll("bench")
    assert done.returncode == 0, done.stderr
    assert "answers_per_s: at least 60000 answers/s" in done.stdout


def test_a_subprocess_has_its_own_environment_and_its_failure_is_reported(tmp_path: Path) -> None:
    assert call_in_subprocess(os.getenv, "XPOLL_ECHO", environment={"XPOLL_ECHO": "heard"}) == "heard"  # type: ignore[comparison-overlap]
    with pytest.raises(EngineError, match="exit code 1 -> see"):
        call_in_subprocess(math.sqrt, -1, log=tmp_path / "log")  # type: ignore[arg-type]
    assert "ValueError" in (tmp_path / "log").read_text()
