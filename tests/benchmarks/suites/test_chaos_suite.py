"""The chaos suite on a trial of each arm, and the same faults from the same seed."""

import errno
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites.chaos import measure as measure_chaos
from xpoll.benchmarks.workloads.faults.chaos_trial import secrets_in
from xpoll.benchmarks.workloads.faults.faulty_endpoint import LASTING, PASSING, Address, Trouble, draw_trouble
from xpoll.benchmarks.workloads.faults.inner_faults import KINDS as INNER
from xpoll.benchmarks.workloads.faults.inner_faults import InnerFault, draw_inner, inflicted
from xpoll.benchmarks.workloads.faults.rot import KINDS, damage, write_run


@pytest.mark.engine
def test_polls_through_faults_end_like_one_without() -> None:
    suite = read_suite("chaos")
    arms = ["simulated", "endpoint", "replay", "processes"]
    small = {"trials": 4, "faults": 2, "arms": arms, "own_ray_share": 0.0}
    records = list(measure_chaos({**suite["parameters"], **small}))
    assert sorted(record["arm"] for record in records) == sorted(arms)
    bounds = [{**bound, "at_least": 4} if bound["name"] == "trials" else bound for bound in suite["checks"]]
    assert [found for bound in bounds if not (found := check(bound, records))["holds"]] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_names_the_damage(tmp_path: Path, kind: str) -> None:
    said = []
    for name in ("a", "b"):
        write_run(tmp_path / name, documents=20, rows_per_append=5, rows_per_part=15)
        said.append(damage(tmp_path / name, random.Random(3), kind=kind, place="part"))
    assert said[0] == said[1]


def test_a_campaign_draws_every_fault_there_is() -> None:
    draws = [random.Random(seed) for seed in range(200)]
    inner = [draw_inner(draw, hang_timeout_s=1.0) for draw in draws]
    assert Counter(fault.kind for fault in inner).keys() == set(INNER)
    assert inner[7] == draw_inner(random.Random(7), hang_timeout_s=1.0)
    assert {draw_trouble(draw, requests=80).kind for draw in draws} == {*PASSING, *LASTING}


def test_a_disk_is_full_from_the_drawn_write_on() -> None:
    with inflicted(InnerFault("full at a write", 2)), open(os.devnull, "wb") as file:  # noqa: PTH123
        with pytest.raises(OSError, match="Invalid argument"):
            os.fsync(file.fileno())  # the first is the system's own
        for _ in range(2):
            with pytest.raises(OSError, match="No space left") as raised:
                os.fsync(file.fileno())
            assert raised.value.errno == errno.ENOSPC


def test_a_clock_jumps_once_and_stays_there() -> None:
    with inflicted(InnerFault("clock jumps", 2, 1e6)):
        before, after, later = time.time(), time.time(), time.time()
    assert before < 1e6 + before - 1 < after <= later < before + 2e6


def test_a_disk_is_read_only_from_the_drawn_write_on(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from xpoll.benchmarks.workloads.faults.inner_faults import InnerFault, inflicted\n"
        "with inflicted(InnerFault('read-only at a write', 2)):\n"
        "    Path('a').write_text('a'); Path('a').read_text(); Path('none').unlink(missing_ok=True)\n"
        "    for refused in (lambda: Path('b').write_text('b'), lambda: Path('a').rename('c'), Path('a').unlink):\n"
        "        try:\n"
        "            refused()\n"
        "        except OSError as error:\n"
        "            print(error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["Read-only file system"] * 3, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_address_meets_its_trouble_at_the_requests_of_that_number() -> None:
    address = Address([Trouble("drop", 1, 2), Trouble("402", 4, 10**9)])
    assert [address.trouble_now() for _ in range(6)] == [None, "drop", "drop", None, "402", "402"]
    address.mend()
    assert address.trouble_now() is None


def test_a_secret_is_found_wherever_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log").write_bytes(b"\xffkey planted-1!")
    (tmp_path / "other").write_text("nothing")
    assert secrets_in(tmp_path, ["planted-1", "planted-2"]) == 1
