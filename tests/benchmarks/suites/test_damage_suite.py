"""The damage suite on a few seeds, and a reader that ends its process is a crash and not the end of the suite."""

import os
import signal

import pytest

from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites import damage
from xpoll.benchmarks.suites.damage import run_trials
from xpoll.core.errors import EngineError


def test_a_few_trials_hold_every_bound() -> None:
    suite = read_suite("damage")
    sizes = (20, 3, 15)
    records = [run_trials(arm, list(range(15)), *sizes) for arm in ("cuts", "flips")]
    bounds = [{**bound, "at_least": 30} if bound["name"] == "trials" else bound for bound in suite["checks"]]
    assert [found for bound in bounds if not (found := check(bound, records))["holds"]] == []
    assert sum(record["lost"] for record in records) > 0


def test_an_exception_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("as a reader might")

    monkeypatch.setattr(damage, "trial", broken)
    assert run_trials("flips", [0, 1], 10, 3, 9) == {"trials": 2, "crashes": 2}


def test_a_trial_that_ends_its_process_is_found_among_fifty(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(_function: object, _arm: str, seeds: list[int], *_sizes: int) -> dict[str, int]:
        if 7 in seeds:
            raise EngineError(f"ended by signal {signal.SIGSEGV} of {os.getpid()}")
        return {"trials": len(seeds), "crashes": 0}

    monkeypatch.setattr(damage, "call_in_subprocess", call)
    parameters = {**read_suite("damage")["parameters"], "trials": 60, "arms": ["flips"]}
    records = list(damage.measure(parameters))
    assert [record["trials"] for record in records] == [50, 10]
    assert [record["crashes"] for record in records] == [1, 0]
