"""A fleet of simulated devices: the share of the sum of the devices' own rates that one dispatcher reaches.

Each device has its own worker and slot; `devices_per_process` of them share a Ray actor, because 128 Python
processes would starve each other on few cores. The engine is timed by a roofline and computes nothing. The
rate of a single device is measured first, by the same code. Capacity is that rate times the time from a
device's readiness to the end of the run, summed over all devices; the lost device counts as if it had stayed.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess, peak_memory_mib
from xpoll.benchmarks.workloads.fleet_hosts import Hosts
from xpoll.benchmarks.workloads.simulated_run import run_simulated
from xpoll.core.progress import say
from xpoll.engine.journal.answers import read_batches
from xpoll.engine.lifetime import RunEngines

COLUMNS = ["document_id", "persona_id", "sample", "worker", "error_kind", "started_unix_s", "latency_s"]
DEVICE_PARAMETERS = ("device", "model_shape", "compute_efficiency", "bandwidth_efficiency", "time_scale", "fail_share")


def measure(parameters: Parameters) -> Iterator[Record]:
    """One device alone, then all of them, one of which is lost half-way; `repeats` times."""
    for repeat in range(parameters["repeats"]):
        say(f"repeat {repeat + 1} of {parameters['repeats']}: one device alone")
        alone = call_in_subprocess(one_device, parameters)
        yield {"arm": "one device", "repeat": repeat, **alone}
        say(f"repeat {repeat + 1} of {parameters['repeats']}: {parameters['devices']} devices")
        fleet = call_in_subprocess(whole_fleet, parameters, alone["own_rate_answers_per_s"])
        yield {"arm": "fleet", "repeat": repeat, **fleet}


def one_device(parameters: Parameters) -> Record:
    """The rate of one device, between the first and the last tenth of the answers, while the batch is full."""
    documents = parameters["documents_alone"]
    with tempfile.TemporaryDirectory() as folder:
        answers, session = _poll(Path(folder), parameters, documents=documents, devices=1)
    ended_s = np.sort(_ended_unix_s(answers))
    begin, end = len(ended_s) // 10, len(ended_s) - len(ended_s) // 10 - 1
    return {
        "documents": documents,
        "wall_s": session["wall_s"],
        "own_rate_answers_per_s": round(float((end - begin) / (ended_s[end] - ended_s[begin])), 3),
    }


def whole_fleet(parameters: Parameters, own_rate: float) -> Record:
    """Figures of all devices on one job.

    Args:
        parameters: Of the suite.
        own_rate: Answers per second of one device alone.
    """
    documents, devices = parameters["documents"], parameters["devices"]
    lost = f"worker-{parameters['lost_device']}"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as lost_devices:
        losing = {
            "lose_device_workers": [lost],
            "lose_device_after_answers": int(documents / devices * parameters["lost_after_share"]),
            "lost_devices_folder": lost_devices,
        }
        answers, session = _poll(Path(folder), parameters, documents=documents, devices=devices, more=losing)
        num_lost = len(list(Path(lost_devices).iterdir()))
    ended_s, ready_s = _ended_unix_s(answers), np.array(session["devices_ready_s"])
    of_lost = pc.equal(answers["worker"], lost).to_numpy(zero_copy_only=False)
    begun_s = float(ended_s.max()) - session["wall_s"]
    capacity = own_rate * float((session["wall_s"] - ready_s).sum())
    errors = answers["error_kind"].value_counts().to_pylist()
    return {
        "devices": len(ready_s),
        "devices_per_process": parameters["devices_per_process"],
        "devices_lost": num_lost,
        "lost_at_s": round(float(ended_s[of_lost].max()) - begun_s, 1) if of_lost.any() else None,
        "documents": documents,
        "answers": len(answers),
        "answered_once": len(set(answers["document_id"].to_pylist())) == documents == len(answers),
        "failed_rows": sum(each["counts"] for each in errors if each["values"] == "simulated"),
        "poison_rows": sum(each["counts"] for each in errors if each["values"] == "poison"),
        "wall_s": session["wall_s"],
        "last_device_ready_s": round(float(ready_s.max()), 1),
        "answers_per_s": round(len(answers) / session["wall_s"], 1),
        "capacity_answers": round(capacity),
        "share_of_capacity": round(len(answers) / capacity, 4),
        "share_of_capacity_when_all_ready": _steady_share(ended_s - begun_s, ready_s, own_rate),
        "driver_cpu_s": round(time.process_time(), 1),
        "driver_peak_memory_mib": peak_memory_mib(),
    }


def _steady_share(ended_s: Any, ready_s: Any, own_rate: float) -> float | None:
    """The share of capacity from the last device's readiness to 95 % of the answers: without start and tail."""
    begin_s, end_s = float(ready_s.max()), float(np.quantile(ended_s, 0.95))
    if end_s <= begin_s:
        return None
    num = int(((ended_s >= begin_s) & (ended_s <= end_s)).sum())
    return round(num / (own_rate * len(ready_s) * (end_s - begin_s)), 4)


def _poll(
    folder: Path, parameters: Parameters, *, documents: int, devices: int, more: dict[str, Any] | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    """Runs a job; returns its answers, and its session in engine.json."""
    simulated = {name: parameters[name] for name in DEVICE_PARAMETERS}
    hosts = Hosts(parameters["devices_per_process"])
    run = run_simulated(
        folder,
        documents,
        max_in_flight=parameters["max_in_flight"],
        simulated={**simulated, "max_num_seqs": parameters["max_num_seqs"], **(more or {})},
        devices=devices,
        engines=RunEngines(hosts.create, hosts.kill),
    )
    return pa.Table.from_batches(read_batches(run.folder.completions, COLUMNS)), run.session


def _ended_unix_s(answers: pa.Table) -> Any:
    """Unix time at which each answer was complete; error rows have no time and get the earliest one."""
    ended_s = pc.add(answers["started_unix_s"], answers["latency_s"]).to_numpy()
    return np.where(ended_s == 0, ended_s[ended_s > 0].min(), ended_s)
