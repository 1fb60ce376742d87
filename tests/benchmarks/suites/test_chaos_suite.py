"""The chaos suite on two trials, and the same faults from the same seed."""

import random
from pathlib import Path

import pytest

from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites.chaos import measure as measure_chaos
from xpoll.benchmarks.workloads.rot import KINDS, damage, write_run


@pytest.mark.engine
def test_polls_through_faults_end_like_one_without() -> None:
    suite = read_suite("chaos")
    small = {"trials": 2, "faults": 2, "documents": 60, "rows_per_part": 30}
    records = [record for record in measure_chaos({**suite["parameters"], **small}) if "seed" in record]
    assert [record["arm"] for record in records] == ["simulated", "replay"]
    bounds = [{**bound, "at_least": 2} if bound["name"] == "trials" else bound for bound in suite["checks"]]
    assert [found for bound in bounds if not (found := check(bound, records))["holds"]] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_names_the_damage(tmp_path: Path, kind: str) -> None:
    said = []
    for name in ("a", "b"):
        write_run(tmp_path / name, documents=20, rows_per_append=5, rows_per_part=15)
        said.append(damage(tmp_path / name, random.Random(3), kind=kind, place="part"))
    assert said[0] == said[1]
