"""The suite `scale`: that its figures are of what they say, without an engine; and small, on the real dispatcher."""

from typing import Any

import pytest

from xpoll.benchmarks.runner.suite import check, read_suite
from xpoll.benchmarks.suites import scale
from xpoll.benchmarks.workloads.closed_network import DeviceModel, ServiceTimes
from xpoll.benchmarks.workloads.dispatcher_times import bytes_in_flight, fitted_times, watched_runs

ASKED = {"devices": 2, "devices_per_process": 2, "max_in_flight": 72}


def run_with(times: ServiceTimes, exchanged: float, appended: float) -> dict[str, float]:
    return {
        "answers_per_exchange": exchanged,
        "answers_per_append": appended,
        "dispatch_cpu_us_per_answer": 1e6 * (times.answer_s + times.exchange_s / exchanged),
        "append_us_per_answer": 1e6 * (times.written_answer_s + times.round_s / appended),
    }


def test_service_times_are_found_again_in_runs_that_took_them() -> None:
    times = ServiceTimes(4e-4, 6e-6, 2e-3, 1.5e-6)
    found = fitted_times([run_with(times, 16, 20), run_with(times, 128, 150), run_with(times, 1000, 1400)])
    for name in ServiceTimes.__slots__:
        assert getattr(found, name) == pytest.approx(getattr(times, name), rel=1e-6)


def test_the_bend_is_where_the_last_fleet_reaches_the_share() -> None:
    device = DeviceModel(batch=48, decode_s=(0.0, *[0.04] * 48), prefill_s=0.0, answer_tokens=4, held=144)
    times = ServiceTimes(5e-4, 8e-5, 1e-3, 2e-5)
    bend = scale.devices_within(0.95, times, device)
    reached = [
        scale.simulated_fleet(times, device, devices=number).answers_per_s / number / 300 for number in (bend, bend + 2)
    ]
    assert reached[0] >= 0.95 > reached[1]


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Of the suite, small, with runs that took known times in place of real ones."""
    times = ServiceTimes(3e-4, 8e-6, 1e-3, 2e-6)
    known = {"stored_bytes_per_answer": 20.0, "resume_us_per_answer": 4.0, "answers_per_s": 200.0}

    def known_runs(_function: Any, requests: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "runs": [
                {**run_with(times, each["max_in_flight"], each["max_in_flight"]), **known, **each} for each in requests
            ]
        }

    monkeypatch.setattr(scale, "call_in_subprocess", known_runs)
    small = {"fleets": [1, 512], "documents": [100_000, 100_000_000], "usd_per_device_hour": 3.6}
    parameters = read_suite("scale")["parameters"]
    return list(scale.measure({**parameters, **small, "shapes": parameters["shapes"][::2]}))


def test_a_job_has_wall_time_storage_memory_and_cost_of_its_size(records: list[dict[str, Any]]) -> None:
    (job,) = [
        each
        for each in records
        if (each["arm"], each.get("shape"), each.get("devices"), each.get("documents"))
        == ("job", "8B, label", 1, 100_000_000)
    ]
    (fleet,) = [each for each in records if (each["arm"], each.get("devices")) == ("fleet", 1)][:1]
    assert job["wall_s"] == pytest.approx(3e8 / fleet["answers_per_s"], rel=0.001)
    assert job["device_s_per_label"] == pytest.approx(job["wall_s"] / 1e8, rel=0.001)
    assert job["usd_per_million_labels"] == pytest.approx(1000 * job["device_s_per_label"], rel=0.001)
    assert (job["stored_gb"], job["parts"], job["resumed_memory_gb"], job["resume_s"]) == (6.0, 3000, 1.6, 1200.0)


def test_fleets_stay_within_the_bound_and_a_small_model_bends_first(records: list[dict[str, Any]]) -> None:
    (bound,) = [bound for bound in read_suite("scale")["checks"] if bound["name"] == "share_of_bound"]
    assert check(bound, records)["holds"]
    bends = {each["shape"]: each["bend_devices"] for each in records if each["arm"] == "bend"}
    assert bends["135M, label"] * 10 < bends["8B, label"]
    reached = {(each["shape"], each["devices"]): each for each in records if each["arm"] == "fleet"}
    assert reached["135M, label", 512]["share_of_own_rates"] < 0.1
    assert reached["8B, label", 1]["share_of_own_rates"] == pytest.approx(1, abs=0.01)


def test_without_a_price_there_is_no_cost() -> None:
    assert scale._usd_per_million({"usd_per_device_hour": 0.0}, 1.0) is None


def test_a_prompt_in_flight_takes_some_hundred_bytes() -> None:
    assert 50 < bytes_in_flight(3, prompts=999) < 5000


@pytest.mark.engine
def test_a_watched_run_counts_its_answers_exchanges_and_the_time_that_it_was_slowed_by() -> None:
    simulated = {"max_num_seqs": 48, "device": "max-1550-tile", "time_scale": 0.2}
    asked = {"answers": 1800, "answers_per_document": 3, "simulated": simulated, **ASKED}
    slowed, paced = watched_runs([{**asked, "slowed_us_per_answer": 1000}, {**asked, "devices": 1}])["runs"]
    assert (slowed["answers"], slowed["devices"], paced["devices"]) == (1800, 2, 1)
    assert 1 <= slowed["answers_per_exchange"] <= 144
    assert slowed["answers_per_s"] < min(1000, paced["answers_per_s"])
    assert 0.5 < slowed["dispatcher_load"] <= 1.05
    assert slowed["stored_bytes_per_answer"] > paced["stored_bytes_per_answer"] / 2 > 0
