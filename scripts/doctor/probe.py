"""What PyTorch itself sees of the Intel GPUs: `xpoll doctor --probe`. The only part of doctor that starts anything.

A process of its own per product, because whatever goes wrong in a GPU runtime may end it, and because PyTorch shows the
cards of one Level Zero driver only, of which there is one per family, and no integrated GPU beside a discrete one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from xpoll.engine.devices.affinity import Place, given, places
from xpoll.engine.devices.intel_cards import read_cards
from xpoll.scripts.doctor.finding import Finding
from xpoll.scripts.doctor.stack import memory_mend

LIMIT_S = 120.0
# Free memory is asked as vLLM asks for it; its operator and PyTorch's own differ on Max (vLLM PR 47820).
PROBE = """
import json
import torch
asked_by = "PyTorch"
try:
    import vllm_xpu_kernels._C
    operator = torch.ops._C_cache_ops.getMemoryInfo
    asked_by = "vLLM's operator"
except (ImportError, AttributeError, RuntimeError):
    operator = torch.xpu.mem_get_info
found = []
for i in range(torch.xpu.device_count()):
    about = torch.xpu.get_device_properties(i)
    ones = torch.ones(64, 64, dtype=torch.bfloat16, device=f"xpu:{i}")
    try:
        free = int(operator(i)[0])
    except RuntimeError as error:
        free = str(error)
    sum_ = float((ones @ ones).sum())
    found.append({"name": about.name, "total": about.total_memory, "free": free, "sum": sum_, "asked_by": asked_by})
print(json.dumps(found))
"""
SUM = 64.0**3


def probe_findings() -> list[Finding]:
    """Compares what PyTorch sees and computes with what the kernel shows; none where no Intel GPU can be used."""
    products: dict[str, list[Place]] = {}
    for place in given(places(read_cards(), "FLAT")):
        if place.card.is_discrete:
            products.setdefault(place.card.product.name, []).append(place)
    return [finding for same in products.values() for finding in _probed(same)]


def _probed(wanted: Sequence[Place]) -> list[Finding]:
    """The findings on the devices of one product."""
    name = wanted[0].card.product.name
    environment = {
        **os.environ,
        "ZE_FLAT_DEVICE_HIERARCHY": "FLAT",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
        "ZES_ENABLE_SYSMAN": "1",
        "ZE_AFFINITY_MASK": ",".join(str(place.number) for place in wanted),
    }
    environment.pop("ONEAPI_DEVICE_SELECTOR", None)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", PROBE], env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return [_wrong(f"hangs for more than {LIMIT_S:g} s on {name}", "sudo dmesg | tail")]
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return [_wrong(lines[-1] if lines else f"ended with {done.returncode}", "pip list | grep -iE 'torch|triton'")]
    seen = json.loads(done.stdout.splitlines()[-1])
    if len(seen) != len(wanted):
        return [_wrong(f"sees {len(seen)} GPUs where the kernel shows {len(wanted)} of {name}", "xpoll doctor; id -nG")]
    return [_device(place, about) for place, about in zip(wanted, seen, strict=True)]


def _device(place: Place, about: dict[str, Any]) -> Finding:
    subject, free = f"probe xpu:{place.number}", about["free"]
    if about["sum"] != SUM:
        why = "a product of two matrices of ones is wrong, so any answer would be"
        return Finding(
            subject, "error", f"{about['name']}: {about['sum']:g} instead of {SUM:g}", why, "sudo dmesg | tail"
        )
    if not isinstance(free, int) or free == 0:
        why = f"vLLM divides the free memory; where it reads 0 no engine starts (asked: {about['asked_by']})"
        return Finding(subject, "warning", f"{about['name']}: free memory reads {free}", why, memory_mend([place.card]))
    memory = f"{free / 2**30:.1f} of {about['total'] / 2**30:.1f} GiB free by {about['asked_by']}"
    return Finding(subject, "ok", f"{about['name']}: {memory}, multiplies bf16 matrices")


def _wrong(what: str, mend: str) -> Finding:
    return Finding("probe", "error", f"PyTorch {what}", "engines on the GPU would fail the same way", mend)
