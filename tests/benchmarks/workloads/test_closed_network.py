"""The model of a fleet: what a queueing bound and plain arithmetic say of it."""

import pytest

from xpoll.benchmarks.workloads.closed_network import (
    DeviceModel,
    ServiceTimes,
    device_of,
    dispatcher_limit,
    knee_devices,
    most_answers_per_s,
    simulated_fleet,
    wall_of,
)
from xpoll.engine.planning.rooflines import MODEL_SHAPES, ROOFLINES, decode_step_s, prefill_s

TIMES = ServiceTimes(exchange_s=5e-4, answer_s=8e-5, round_s=1e-3, written_answer_s=2e-5)
DEVICE = DeviceModel(batch=48, decode_s=(0.0, *[0.04] * 48), prefill_s=0.0, answer_tokens=4, held=144)
PREFILLING = DeviceModel(batch=48, decode_s=(0.0, *[0.004] * 48), prefill_s=0.003, answer_tokens=4, held=144)
"""Both have 300 answers/s; TIMES leave at most some 9,300, so the knee is at 31 devices."""


def test_one_device_gets_its_own_rate() -> None:
    rate = simulated_fleet(TIMES, DEVICE, devices=1)
    assert DEVICE.own_rate == pytest.approx(300)
    assert rate.answers_per_s == pytest.approx(300, rel=0.01)
    assert rate.answers_per_exchange == pytest.approx(12, rel=0.01)  # those of a step
    assert rate.dispatcher_load == pytest.approx((5e-4 + 1e-3 + 12 * 1e-4) / 0.04, rel=0.05)


@pytest.mark.parametrize("device", [DEVICE, PREFILLING], ids=["decode", "prefill"])
@pytest.mark.parametrize("devices", [1, 2, 8, 16, 25, 31, 40, 64, 200])
def test_no_fleet_exceeds_the_bound_and_each_comes_near_it(device: DeviceModel, devices: int) -> None:
    rate = simulated_fleet(TIMES, device, devices=devices)
    bound = most_answers_per_s(TIMES, device, devices)
    assert 0.75 * bound <= rate.answers_per_s <= bound * 1.01  # the window may end with a round
    assert rate.dispatcher_load <= 1.0001


def test_the_dispatcher_is_saturated_from_the_knee_on_and_not_far_before() -> None:
    knee = knee_devices(TIMES, DEVICE)
    assert knee == pytest.approx(1 / (1e-4 + 5e-4 / 72) / 300)
    below = simulated_fleet(TIMES, DEVICE, devices=int(knee * 0.6)).answers_per_s
    assert below == pytest.approx(int(knee * 0.6) * 300, rel=0.02)
    above = [simulated_fleet(TIMES, DEVICE, devices=int(knee * times)) for times in (2, 6)]
    assert [rate.dispatcher_load for rate in above] == pytest.approx([1, 1], abs=0.01)
    assert above[0].answers_per_s == pytest.approx(above[1].answers_per_s, rel=0.15)
    assert above[1].answers_per_s / (6 * knee * 300) < 0.2


def test_replies_that_wait_are_merged_before_devices_run_dry() -> None:
    """Steps of 12 answers would need 1.2 times the dispatcher's time; of 144 that a device holds there is room."""
    times = ServiceTimes(exchange_s=1.2e-3, answer_s=1e-5, round_s=0.0, written_answer_s=0.0)
    devices = round(1.2 * 0.04 / (1.2e-3 + 12e-5))
    rate = simulated_fleet(times, DEVICE, devices=devices)
    assert rate.dispatcher_load == pytest.approx(1, abs=0.01)
    assert rate.answers_per_exchange > 14
    assert rate.answers_per_s == pytest.approx(devices * 300, rel=0.02)


def test_a_dispatcher_that_takes_no_time_never_holds_devices_up() -> None:
    free = ServiceTimes(0.0, 0.0, 0.0, 1e-9)
    assert simulated_fleet(free, DEVICE, devices=100).answers_per_s == pytest.approx(30_000, rel=0.01)


def test_a_slower_disk_costs_few_devices_more_than_many() -> None:
    slow = ServiceTimes(TIMES.exchange_s, TIMES.answer_s, 0.5, TIMES.written_answer_s)
    few, many = dispatcher_limit(slow, DEVICE, 1), dispatcher_limit(slow, DEVICE, 1000)
    assert few < 300 < many
    assert simulated_fleet(slow, DEVICE, devices=1).answers_per_s <= few


@pytest.mark.parametrize(("devices", "answers"), [(1, 10), (8, 500), (8, 5000), (64, 2000)])
def test_a_short_job_ends_and_takes_at_least_its_share_of_the_bound(devices: int, answers: int) -> None:
    wall_s = wall_of(simulated_fleet(TIMES, DEVICE, devices=devices), DEVICE, devices, answers, TIMES)
    assert answers / most_answers_per_s(TIMES, DEVICE, devices) * 0.8 <= wall_s
    assert wall_s <= answers / (devices * 300) + 1.0


def test_a_long_job_takes_what_the_simulation_of_all_of_it_takes() -> None:
    rate = simulated_fleet(TIMES, DEVICE, devices=8)
    whole = wall_of(rate._replace(answers=10**9), DEVICE, 8, 40_000, TIMES)
    assert rate.answers < 40_000
    assert wall_of(rate, DEVICE, 8, 40_000, TIMES) == pytest.approx(whole, rel=0.01)


def test_a_device_has_the_steps_of_its_roofline() -> None:
    options = {"max_num_seqs": 48, "max_in_flight": 72, "compute_efficiency": 0.5, "bandwidth_efficiency": 0.6}
    tokens = {"prompt_tokens": 100, "computed_tokens": 50, "answer_tokens": 4}
    device = device_of(device="max-1550-tile", model_shape="llama-3.1-8b", **tokens, **options, time_scale=2)
    roofline, shape = ROOFLINES["max-1550-tile"], MODEL_SHAPES["llama-3.1-8b"]
    prefill = prefill_s(roofline, shape, 600, compute_efficiency=0.5)
    decode = decode_step_s(roofline, shape, 48, 4896, compute_efficiency=0.5, bandwidth_efficiency=0.6)
    assert device.own_rate == pytest.approx(12 / 2 / (prefill + decode))
    assert (device.batch, device.held, len(device.decode_s)) == (48, 144, 49)
