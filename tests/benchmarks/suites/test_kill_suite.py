"""The property of the kill suite on a few runs: nothing lost, nothing asked again, same votes, no process left."""

import pytest

from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites.kill import measure as measure_kill

pytestmark = pytest.mark.engine


def test_killed_polls_end_like_one_that_nobody_killed() -> None:
    suite = read_suite("kill")
    small = {"runs": 2, "own_ray_every": 2, "documents": 60, "rows_per_part": 30}
    records = list(measure_kill({**suite["parameters"], **small}))
    killed = [record for record in records if "run" in record]
    assert [record["own_ray"] for record in killed][:2] == [False, True]
    assert sum(record["kept"] for record in killed) > 0, "no kill came behind an answer"
    bounds = [{**bound, "at_least": 2} if bound["name"] == "runs" else bound for bound in suite["checks"]]
    assert [found for bound in bounds if not (found := check(bound, records))["holds"]] == []
