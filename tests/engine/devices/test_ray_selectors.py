"""Ray's own check of GPUs against the shell's selector and mask, without starting a Ray."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.devices.test_pinning import SELECTORS, TWO_MAX_1550, VARIANTS
from tests.support.fake_machine import build
from xpoll.core.config.job import EngineConfig
from xpoll.engine import cluster
from xpoll.engine.backends.registry import devices_for
from xpoll.engine.devices.affinity import NARROWING

TAKEN = {"tiles of a card"}
"""What Ray 2.60 takes of it by itself: as many words as there are devices."""


def resolve(num_gpus: int) -> None:
    """What Ray does first when it starts a node."""
    from ray._private.resource_and_label_spec import ResourceAndLabelSpec

    ResourceAndLabelSpec(num_cpus=1, num_gpus=num_gpus).resolve(is_head=True)


@pytest.fixture
def dpctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XPOLL_SYSFS", str(build(tmp_path, TWO_MAX_1550)))
    for name in (*NARROWING, "ZE_FLAT_DEVICE_HIERARCHY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(str(VARIANTS / "dpctl_package"))
    monkeypatch.delitem(sys.modules, "dpctl", raising=False)
    # Ray chooses once per process by what dpctl counts; another test may have made it choose without dpctl.
    from ray._private import accelerators

    assert accelerators.IntelGPUAcceleratorManager.get_current_node_num_accelerators() == 4
    chosen = {"GPU": accelerators.IntelGPUAcceleratorManager}
    place = accelerators.get_accelerator_manager_for_resource
    monkeypatch.setattr(place, "_resource_name_to_accelerator_manager", chosen, raising=False)
    yield
    sys.modules.pop("dpctl", None)


@pytest.mark.usefixtures("dpctl")
@pytest.mark.parametrize("name", SELECTORS)
def test_ray_is_started_without_what_it_would_refuse(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    for variable, value in SELECTORS[name].items():
        monkeypatch.setenv(variable, value)
    devices = devices_for(EngineConfig(model="none", backend="tests.support.pinned:SeesBackend", device="xpu"))
    if name in TAKEN:
        resolve(len(devices))
    else:
        with pytest.raises(ValueError, match="Attempting to start raylet"):
            resolve(len(devices))
    started: list[int] = []

    def init(**arguments: Any) -> None:
        resolve(arguments["num_gpus"])
        started.append(arguments["num_gpus"])

    monkeypatch.setattr(ray, "init", init)
    cluster._start(devices, {})
    assert started == [len(devices)]
