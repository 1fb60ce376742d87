"""How far one dispatcher carries: a model of it with service times of this machine, held against runs of the real one.

Arms: `service time` are runs of the real dispatcher whose engine takes no time, which give its seconds per exchange,
per append and per answer; `real` are runs on paced devices beside what the model says of the same fleet, also with
appends lengthened by a known time, so that few devices reach a dispatcher's limit; `fleet` and `job` are computed;
`bend` is where the devices begin to wait for the dispatcher.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.closed_network import (
    DeviceModel,
    FleetRate,
    ServiceTimes,
    device_of,
    dispatcher_limit,
    knee_devices,
    most_answers_per_s,
    simulated_fleet,
    wall_of,
)
from xpoll.benchmarks.workloads.dispatcher_times import bytes_in_flight, fitted_times, sampled_prompts, watched_runs
from xpoll.core.progress import say

SETTLED_BYTES = 16
"""What a resumed run holds per settled document (engine/journal/ledger.py)."""
SORTING_BYTES = 40
"""What it takes per settled document while it sorts them: digests read, their order, digests sorted."""
OF_DEVICE = ("device", "compute_efficiency", "bandwidth_efficiency", "max_num_seqs", "max_in_flight")


def measure(parameters: Parameters) -> Iterator[Record]:
    """Service times, the model against real runs, then the table of fleets and jobs, `repeats` times."""
    for repeat in range(parameters["repeats"]):
        yield from ({**record, "repeat": repeat} for record in _measured_once(parameters))


def _measured_once(parameters: Parameters) -> Iterator[Record]:
    each = parameters["answers_per_document"]
    requests = [*_service_requests(parameters), *_real_requests(parameters)]
    runs = call_in_subprocess(watched_runs, requests)["runs"]
    number = len(parameters["times_in_flight"])
    unpaced, paced = runs[:number], runs[number:]
    for max_in_flight, run in zip(parameters["times_in_flight"], unpaced, strict=True):
        yield {"arm": "service time", "max_in_flight": max_in_flight, **run}
    times = fitted_times(unpaced)
    in_us = {f"{name[:-2]}_us": round(1e6 * getattr(times, name), 3) for name in ServiceTimes.__slots__}
    yield {"arm": "service times", **in_us, "bytes_in_flight_per_prompt": round(bytes_in_flight(each), 1)}
    for (_, slowed_us), run in zip(parameters["real"]["runs"], paced, strict=True):
        yield {"arm": "real", **run, **_against_model(parameters, times, run, slowed_us)}
    stored = max(run["stored_bytes_per_answer"] for run in paced)  # their times differ, as those of a real run do
    resume_us = min(run["resume_us_per_answer"] for run in unpaced)
    for shape in parameters["shapes"]:
        yield from _fleets(parameters, shape, times, stored_bytes=stored, resume_us=resume_us)


def _service_requests(parameters: Parameters) -> Iterator[dict[str, Any]]:
    """Runs of one device that takes no time."""
    for max_in_flight, answers in zip(parameters["times_in_flight"], parameters["times_answers"], strict=True):
        yield {
            "answers": answers,
            "answers_per_document": parameters["answers_per_document"],
            "devices": 1,
            "devices_per_process": 1,
            "max_in_flight": max_in_flight,
            "simulated": {"time_scale": 0.0},
        }


def _real_requests(parameters: Parameters) -> Iterator[dict[str, Any]]:
    """Runs of paced devices, each as long as `real_run_s` at the rate that devices or lengthened appends allow."""
    about = {**parameters, **parameters["real"]}
    of_engine = ("device", "model_shape", "compute_efficiency", "bandwidth_efficiency", "max_num_seqs", "time_scale")
    device = _real_device(parameters)
    for devices, slowed_us in about["runs"]:
        rate = min(devices * device.own_rate, 1e6 / slowed_us if slowed_us else float("inf"))
        yield {
            "answers": round(about["real_run_s"] * rate),
            "answers_per_document": about["answers_per_document"],
            "devices": devices,
            "devices_per_process": about["devices_per_process"],
            "max_in_flight": about["max_in_flight"],
            "simulated": {name: about[name] for name in of_engine} | {"choice_output_tokens": about["answer_tokens"]},
            "slowed_us_per_answer": slowed_us,
        }


def _real_device(parameters: Parameters) -> DeviceModel:
    about = {**parameters, **parameters["real"]}
    prompt = next(sampled_prompts(1, 1))
    tokens = sum(len(message["content"]) for message in prompt.messages) // 4  # as the simulated engine counts them
    return _device(about, {**about, "prompt_tokens": tokens, "computed_tokens": tokens}, about["time_scale"])


def _against_model(parameters: Parameters, times: ServiceTimes, run: Record, slowed_us: float) -> Record:
    """What the model says of the fleet of a real run, and how far it is off."""
    slow = replace(times, written_answer_s=times.written_answer_s + slowed_us / 1e6)
    device, devices = _real_device(parameters), run["devices"]
    model, bound = simulated_fleet(slow, device, devices=devices), most_answers_per_s(slow, device, devices)
    error = model.answers_per_s / run["answers_per_s"] - 1
    return {
        "slowed_us_per_answer": slowed_us,
        "model_answers_per_s": round(model.answers_per_s, 1),
        "model_bound_answers_per_s": round(bound, 1),
        "model_answers_per_exchange": round(model.answers_per_exchange, 2),
        "model_dispatcher_load": round(model.dispatcher_load, 4),
        "model_error": round(error, 4),
        "model_error_size": round(abs(error), 4),
        "real_share_of_bound": round(run["answers_per_s"] / bound, 4),
    }


def _device(parameters: Parameters, shape: dict[str, Any], time_scale: float = 1.0) -> DeviceModel:
    tokens = {name: shape[name] for name in ("model_shape", "prompt_tokens", "computed_tokens", "answer_tokens")}
    return device_of(**{name: parameters[name] for name in OF_DEVICE}, **tokens, time_scale=time_scale)


def _fleets(
    parameters: Parameters, shape: dict[str, Any], times: ServiceTimes, *, stored_bytes: float, resume_us: float
) -> Iterator[Record]:
    device, name = _device(parameters, shape), shape["name"]
    for devices in parameters["fleets"]:
        say(f"{name}: {devices} devices")
        rate = simulated_fleet(times, device, devices=devices)
        yield {"arm": "fleet", "shape": name, "devices": devices, **_rates(rate, device, devices, times)}
        for documents in parameters["documents"]:
            answers = documents * parameters["answers_per_document"]
            wall_s = wall_of(rate, device, devices, answers, times)
            yield {
                "arm": "job",
                "shape": name,
                "devices": devices,
                "documents": documents,
                "wall_s": round(wall_s, 1),
                "device_hours": round(devices * wall_s / 3600, 3),
                "device_s_per_label": round(devices * wall_s / documents, 6),
                "usd_per_million_labels": _usd_per_million(parameters, devices * wall_s / documents),
                "stored_gb": round(stored_bytes * answers / 1e9, 4),
                "parts": -(-answers // parameters["rows_per_part"]),
                "resumed_memory_gb": round(SETTLED_BYTES * documents / 1e9, 4),
                "resuming_memory_gb": round(SORTING_BYTES * documents / 1e9, 4),
                "resume_s": round(resume_us * answers / 1e6, 1),
            }
    say(f"{name}: where devices begin to wait")
    bend = devices_within(parameters["bend_share"], times, device)
    rate = simulated_fleet(times, device, devices=bend)
    yield {
        "arm": "bend",
        "shape": name,
        "knee_devices": round(knee_devices(times, device), 1),
        "bend_devices": bend,
        **_rates(rate, device, bend, times),
    }


def _rates(rate: FleetRate, device: DeviceModel, devices: int, times: ServiceTimes) -> Record:
    bound = most_answers_per_s(times, device, devices)
    return {
        "own_rate_answers_per_s": round(device.own_rate, 2),
        "answers_per_s": round(rate.answers_per_s, 1),
        "bound_answers_per_s": round(bound, 1),
        "share_of_bound": round(rate.answers_per_s / bound, 4),
        "share_of_own_rates": round(rate.answers_per_s / (devices * device.own_rate), 4),
        "share_of_dispatcher_limit": round(rate.answers_per_s / dispatcher_limit(times, device, devices), 4),
        "dispatcher_load": round(rate.dispatcher_load, 4),
        "answers_per_exchange": round(rate.answers_per_exchange, 2),
        "held_prompts": devices * device.held,
    }


def devices_within(share: float, times: ServiceTimes, device: DeviceModel) -> int:
    """Most devices that reach a share of their own rates together, by bisection; at least one.

    Args:
        share: 0 to 1.
        times: The dispatcher.
        device: Each device.
    """
    reach, beyond = 1, 2 * int(knee_devices(times, device)) + 2  # where at best half of the rates are reached
    while beyond - reach > max(1, reach // 100):
        middle = (reach + beyond) // 2
        rate = simulated_fleet(times, device, devices=middle)
        if rate.answers_per_s >= share * middle * device.own_rate:
            reach = middle
        else:
            beyond = middle
    return reach


def _usd_per_million(parameters: Parameters, device_s_per_label: float) -> float | None:
    """None without a price."""
    price = parameters["usd_per_device_hour"]
    return round(1e6 * device_s_per_label / 3600 * price, 2) if price else None
