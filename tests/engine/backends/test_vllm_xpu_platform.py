"""vLLM's own XPU platform and Ray's manager of Intel GPUs, driven without one: a renamed argument breaks a test."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.tiny import make_tiny_llama
from xpoll.engine.backends.vllm.in_process import default_options
from xpoll.engine.devices.find import Device, pinning

MAX_1100, ARC_B60 = "Intel Data Center GPU Max 1100", "Intel Arc Pro B60"


def configured(model: Path, product: str, **options: Any) -> dict[str, Any]:
    """What vLLM's engine would be started with on a GPU of that name, by `tests/support/xpu_platform.py`."""
    command = [sys.executable, "-P", str(ROOT / "tests/support/xpu_platform.py"), str(model), product]
    done = subprocess.run([*command, json.dumps(options)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.engine
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_our_defaults_on_vllms_xpu_platform(tmp_path: Path) -> None:
    """The platform refuses none of them, and changes none without our knowing."""
    model = make_tiny_llama(tmp_path / "tiny")
    told = configured(model, MAX_1100)
    ours = default_options(Device("xpu", 0, MAX_1100))
    assert (told["platform"], told["device_type"], told["worker"]) == (
        "XPUPlatform",
        "xpu",
        "vllm.v1.worker.xpu_worker.XPUWorker",
    )
    assert (told["block_size"], told["dtype"]) == (ours["block_size"], f"torch.{ours['dtype']}")
    assert (told["prefix_caching"], told["eager"]) == (ours["enable_prefix_caching"], ours["enforce_eager"])
    assert (told["chunked_prefill"], told["max_num_seqs"], told["memory_share"]) == (True, 256, 0.92)
    assert (told["attention"], told["executor"], told["graphs"]) == ("FLASH_ATTN", "uni", "NONE")
    assert told["mask"] in pinning(Device("xpu", 0, MAX_1100)), "the variable that narrows an engine to its card"
    assert (told["ray_key"], told["dist_backend"]) == ("GPU", "xccl")


@pytest.mark.engine
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_cards_but_max_have_graphs(tmp_path: Path) -> None:
    told = configured(make_tiny_llama(tmp_path / "tiny"), ARC_B60, attention_backend="TRITON_ATTN")
    assert (told["eager"], told["attention"]) == (False, "TRITON_ATTN")
    assert told["graphs"] != "NONE", "upstream has graphs on an XPU unless it is told to be eager"


def test_rays_manager_reads_the_masks_that_we_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.accelerators.intel_gpu import IntelGPUAcceleratorManager as Manager

    variables = pinning(Device("xpu", 3, MAX_1100))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ONEAPI_DEVICE_SELECTOR", raising=False)
    assert Manager.get_visible_accelerator_ids_env_var() == "ZE_AFFINITY_MASK"
    assert Manager.get_current_process_visible_accelerator_ids() == ["3"]
    Manager.set_current_process_visible_accelerator_ids(["0"])
    assert Manager.get_current_process_visible_accelerator_ids() == ["3"], "our flag no longer keeps Ray off the mask"
    for name in variables:
        if name.startswith("RAY_EXPERIMENTAL_NOSET"):
            monkeypatch.delenv(name)
    Manager.set_current_process_visible_accelerator_ids(["0"])
    assert Manager.get_current_process_visible_accelerator_ids() == ["0"], "without it Ray narrows the mask"


@pytest.mark.parametrize(
    ("selector", "seen"),
    [("level_zero:0,1", ["0", "1"]), ("level_zero:gpu", ["gpu"]), ("opencl:gpu;level_zero:gpu", ["gpu"]), ("", [])],
)
def test_what_ray_makes_of_a_selector_of_the_shell(
    monkeypatch: pytest.MonkeyPatch, selector: str, seen: list[str]
) -> None:
    """ "gpu" counts as one device and ends a start with two: why our own Ray starts without the selector."""
    from ray._private.accelerators.intel_gpu import IntelGPUAcceleratorManager as Manager

    monkeypatch.delenv("ZE_AFFINITY_MASK", raising=False)
    monkeypatch.setenv("ONEAPI_DEVICE_SELECTOR", selector)
    assert Manager.get_current_process_visible_accelerator_ids() == seen
