"""A worker on an Intel GPU lets its engine end before it is killed: after a kill the next start may hang in oneCCL."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from xpoll.engine import cluster
from xpoll.engine.devices.find import Device

CPU, ARC = Device("cpu", 0, "a processor"), Device("xpu", 0, "Intel Arc Pro B60")
VLLM_SHUTDOWN_S = 5.0
"""What vllm/platforms/xpu.py gives an engine for leaving oneCCL."""


def ended(devices: list[Device], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to a worker, in order."""
    done: list[str] = []

    def wait(calls: list[Any], *, num_returns: int, timeout: float) -> None:
        assert num_returns == len(calls) == 1
        assert timeout >= 2 * VLLM_SHUTDOWN_S
        done.append("waited")

    def stop() -> None:
        done.append("stop")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(wait=wait))
    worker = SimpleNamespace(stop=SimpleNamespace(remote=stop))
    cluster.end_of_worker(devices, lambda _: done.append("killed"))(worker)
    return done


def test_an_engine_on_an_intel_gpu_ends_before_its_worker_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended([ARC, ARC], monkeypatch) == ["stop", "waited", "killed"]


def test_elsewhere_a_worker_is_killed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended([CPU], monkeypatch) == ["killed"]
