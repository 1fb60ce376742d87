"""Windows: what is inside, what is no measurement, and when repeats agree."""

import time

import pytest

from tests.support.fake_sysfs import Scripted, found
from xpoll.energy import window as windows
from xpoll.energy.counters import SourceCounters
from xpoll.energy.sources import find_counters
from xpoll.energy.window import Window, idle_power, repeated_energy


def test_a_window_is_the_difference_of_its_ends_over_all_counters() -> None:
    counters = [Scripted([100.0, 130.0], name="a"), Scripted([7.0, 9.5], name="b")]
    with Window(found(*counters), synchronise=lambda: None) as window:
        time.sleep(0.01)
    energy = window.energy
    assert (energy.energy_j, energy.by_counter, energy.why) == (32.5, {"a": 30.0, "b": 2.5}, "")
    assert energy.source == "scripted"
    assert energy.wall_s >= 0.01


def test_the_device_is_synchronised_before_each_reading_at_the_ends() -> None:
    order: list[str] = []

    class Watched(Scripted):
        def read_j(self) -> float:
            order.append("read")
            return super().read_j()

    with Window(found(Watched([1.0, 2.0])), synchronise=lambda: order.append("synchronise")):
        order.append("work")
        time.sleep(0.01)
    assert order == ["synchronise", "read", "work", "synchronise", "read"]


def test_counters_are_read_in_between_so_that_no_round_is_missed() -> None:
    counter = Scripted([float(i) for i in range(1000)])
    with Window(found(counter), synchronise=lambda: None, every_s=0.005) as window:
        time.sleep(0.2)
    assert window.energy.energy_j is not None
    assert window.energy.energy_j > 5


def test_a_counter_that_fails_leaves_no_figure() -> None:
    with Window(found(Scripted([1.0, None])), synchronise=lambda: None) as window:
        time.sleep(0.01)
    assert (window.energy.energy_j, window.energy.source) == (None, "none")
    assert window.energy.why == "the counter is gone"


def test_a_counter_that_stands_still_leaves_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "STANDS_STILL_S", 0.01)
    counters = [Scripted([1.0, 5.0], name="moves"), Scripted([3.0], name="stopped")]
    with Window(found(*counters), synchronise=lambda: None) as window:
        time.sleep(0.02)
    assert window.energy.energy_j is None
    assert window.energy.why.startswith("stopped did not move for")


def test_a_window_that_is_too_short_for_its_counter_leaves_no_figure() -> None:
    with Window(found(Scripted([1.0, 5.0], resolution_s=1.0)), synchronise=lambda: None) as window:
        pass
    assert window.energy.energy_j is None
    assert "too short for a counter that needs 10 s" in window.energy.why


def test_without_counters_the_reason_stands_in_place_of_the_figure() -> None:
    with Window(found(), synchronise=lambda: None) as window:
        pass
    assert (window.energy.energy_j, window.energy.source, window.energy.why) == (None, "none", "nothing is there")
    assert idle_power(found()) == (None, None)


def test_idle_power_is_the_median_of_short_windows_with_their_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(windows.time, "sleep", sleep)
    monkeypatch.setattr(windows.time, "monotonic", lambda: clock[0])
    joules = [0.0, 10.0, 10.0, 22.0, 22.0, 31.0]
    idle = idle_power(found(Scripted(joules)), seconds=3.0, parts=3)
    assert idle == (10.0, 0.3)


@pytest.mark.parametrize(
    ("repeats", "status", "spread"),
    [
        ([100.0, 101.0, 103.0], "valid", 0.0297),
        ([100.0, 101.0, 110.0], "spread too wide", 0.099),
        ([100.0, 101.0], "too few repeats", 0.01),
        ([100.0, None, 101.0], "not measured", None),
        ([], "not measured", None),
    ],
)
def test_repeats_are_valid_only_under_the_stated_spread(
    repeats: list[float | None], status: str, spread: float | None
) -> None:
    found = repeated_energy(repeats)
    assert found.status == status
    assert found.spread == (pytest.approx(spread, abs=1e-4) if spread is not None else None)


def test_the_first_source_that_can_be_read_is_taken_and_the_processor_counted_beside() -> None:
    taken, host = Scripted([1.0], name="second"), Scripted([1.0], name="package")
    sources = {
        "xpu": {"first": lambda: SourceCounters([], "no permission"), "second": lambda: SourceCounters([taken])},
        "cpu": {},
    }
    both = find_counters("xpu", sources, {"rapl": lambda: SourceCounters([host])})
    assert ([c.name for c in both.counters], both.source, both.why) == (["second", "package"], "second + rapl", "")
    alone = find_counters("xpu", sources, {"rapl": lambda: SourceCounters([], "no RAPL")})
    assert (alone.source, alone.why) == ("second", "the processor is not counted: no RAPL")
    assert [c.name for c in find_counters("cpu", sources, {"rapl": lambda: SourceCounters([host])}).counters] == [
        "package"
    ]


def test_a_gpu_that_cannot_be_read_is_not_replaced_by_its_processor() -> None:
    host = Scripted([1.0])
    sources = {
        "xpu": {
            "first": lambda: SourceCounters([], "no permission"),
            "second": lambda: SourceCounters([], "not installed"),
        }
    }
    nothing = find_counters("xpu", sources, {"rapl": lambda: SourceCounters([host])})
    assert (nothing.counters, nothing.source, nothing.why) == ([], "none", "no permission; not installed")
    assert host.closed
