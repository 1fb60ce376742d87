"""What a run holds is sampled as it is, and a trend is told from noise."""

import os
import random
import threading

import pytest

from xpoll.benchmarks.runner.page import charts_of
from xpoll.benchmarks.suites.soak import trends
from xpoll.benchmarks.workloads.usage import Sampler, Usage, trend, usage_now

MINUTES = [i / 12 for i in range(240)]


def noisy(level: float, per_hour: float, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [level + per_hour * minute / 60 + draw.gauss(0, 2) for minute in MINUTES]


def test_a_trend_is_within_its_interval_and_noise_is_none() -> None:
    for per_hour in (0.0, 30.0, -30.0):
        found = [trend(MINUTES, noisy(200, per_hour, seed)) for seed in range(40)]
        assert sum(each.per_hour_low <= per_hour <= each.per_hour_high for each in found) >= 34
    assert all(each.per_hour_high < 0 for each in found), "a fall of ten in twenty minutes is seen in noise of two"


def test_a_sample_has_the_files_and_threads_that_are_there() -> None:
    before = {each.process: each for each in usage_now(0.0)}
    ended = threading.Event()
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        after = {each.process: each for each in usage_now(0.0)}
    finally:
        ended.set()
        thread.join()
        for descriptor in held:
            os.close(descriptor)
    assert after["driver"].open_files - before["driver"].open_files == 3
    assert after["driver"].threads - before["driver"].threads == 1
    assert after["driver"].memory_mib > 10
    assert after["workers"] == Usage("workers", 0.0, 0.0, 0, 0)


def test_a_sampler_samples_until_it_is_ended() -> None:
    sampler = Sampler(0.01)
    sampler.start()
    while len(sampler.samples) < 6:
        ended = sampler.is_alive()
        assert ended
    sampler.end()
    minutes = [each.minutes for each in sampler.samples if each.process == "driver"]
    assert minutes == sorted(minutes)
    assert not sampler.is_alive()


@pytest.mark.parametrize(("per_hour", "grown"), [(0.0, 0.0), (60.0, 19.0 / 210)])
def test_growth_is_a_share_of_the_mean_behind_the_warm_up(per_hour: float, grown: float) -> None:
    samples = [
        Usage("driver", minute, level if minute >= 1 else 9000.0, 40, 12)
        for minute, level in zip(MINUTES, noisy(200, per_hour, 1), strict=True)
    ]
    found = {record["of"]: record for record in trends(samples, warm_up_minutes=1.0)}
    assert found["memory_mib"]["memory_mib_growth_share"] == pytest.approx(grown, abs=0.01)
    assert (found["open_files"]["open_files_growth_share"], found["threads"]["mean"]) == (0.0, 12)
    assert list(trends(samples[:20], warm_up_minutes=1.0)) == [], "too few for a trend"


def test_the_page_draws_what_each_process_held() -> None:
    records = [
        {"arm": "sample", **Usage(name, m, 100 + m, 40, 12)._asdict()} for name in ("driver", "ray") for m in (1, 2)
    ]
    charts = charts_of(records)
    assert [chart.title for chart in charts] == ["Driver: share of the most it held", "Ray: share of the most it held"]
    assert charts[0].svg.count("<circle") == 6
