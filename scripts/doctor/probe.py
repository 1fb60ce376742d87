"""What PyTorch itself sees of the Intel GPUs: `xpoll doctor --probe`. The only part of doctor that starts anything.

A process of its own, because whatever goes wrong in a GPU runtime may end it.
"""

import json
import os
import subprocess
import sys
from typing import Any

from xpoll.engine.devices.affinity import given, places
from xpoll.engine.devices.intel_cards import read_cards
from xpoll.scripts.doctor.finding import Finding

LIMIT_S = 120.0
PROBE = """
import json
import torch
found = []
for i in range(torch.xpu.device_count()):
    about = torch.xpu.get_device_properties(i)
    ones = torch.ones(64, 64, dtype=torch.bfloat16, device=f"xpu:{i}")
    try:
        free = torch.xpu.mem_get_info(i)[0]
    except RuntimeError as error:
        free = str(error)
    found.append({"name": about.name, "total": about.total_memory, "free": free, "sum": float((ones @ ones).sum())})
print(json.dumps(found))
"""
SUM = 64.0**3


def probe_findings() -> list[Finding]:
    """Compares what PyTorch sees and computes with what the kernel shows; none where no Intel GPU can be used."""
    wanted = given(places(read_cards(), "FLAT"))
    if not any(place.card.is_discrete for place in wanted):
        return []
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
        return [_wrong(f"hangs for more than {LIMIT_S:g} s", "sudo dmesg | tail")]
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return [_wrong(lines[-1] if lines else f"ended with {done.returncode}", "pip list | grep -iE 'torch|triton'")]
    seen = json.loads(done.stdout.splitlines()[-1])
    if len(seen) != len(wanted):
        return [_wrong(f"sees {len(seen)} GPUs where the kernel shows {len(wanted)}", "sycl-ls; id -nG")]
    return [_device(place.number, about) for place, about in zip(wanted, seen, strict=True)]


def _device(number: int, about: dict[str, Any]) -> Finding:
    subject, free = f"probe xpu:{number}", about["free"]
    if about["sum"] != SUM:
        why = "a product of two matrices of ones is wrong, so any answer would be"
        return Finding(
            subject, "error", f"{about['name']}: {about['sum']:g} instead of {SUM:g}", why, "sudo dmesg | tail"
        )
    if not isinstance(free, int) or free == 0:
        why = "vLLM divides the free memory; where it reads 0 no engine starts"
        mend = "pip install 'vllm-xpu-kernels>=0.1.15', or the lts stack (docs/intel-gpus.md)"
        return Finding(subject, "warning", f"{about['name']}: free memory reads {free}", why, mend)
    memory = f"{free / 2**30:.1f} of {about['total'] / 2**30:.1f} GiB free"
    return Finding(subject, "ok", f"{about['name']}: {memory}, multiplies bf16 matrices")


def _wrong(what: str, mend: str) -> Finding:
    return Finding("probe", "error", f"PyTorch {what}", "engines on the GPU would fail the same way", mend)
