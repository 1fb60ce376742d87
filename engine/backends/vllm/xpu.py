"""What an engine on an Intel GPU is started with, and checks in its worker before that.

Whether the process sees its card and no other is known only at run time, so it is checked before minutes are
spent on loading a model.
"""

import os
from typing import Any

from xpoll.core.errors import EngineError
from xpoll.engine.devices.find import Device, problem_of
from xpoll.engine.devices.intel_cards import read_cards
from xpoll.engine.devices.intel_products import product_named


def prepare_xpu(device: Device) -> None:
    """Checks that the card is usable and clears a variable that would narrow the mask; no-op on other devices.

    Raises:
        EngineError: the card is gone or cannot be opened.
    """
    if device.kind != "xpu":
        return
    # It counts within the mask, so a selector from the user's shell would pick another card or none.
    os.environ.pop("ONEAPI_DEVICE_SELECTOR", None)
    card = next((card for card in read_cards() if card.pci_address == device.pci_address), None)
    if device.pci_address and (card is None or card.problem):
        what = problem_of(card) if card else f"{device.name} at {device.pci_address}: gone"
        raise EngineError(f"{device}: {what}", mend="xpoll doctor")


def check_visible(device: Device) -> None:
    """Checks that PyTorch in this process sees the device and no other; no-op on other devices.

    Raises:
        EngineError: it sees another number of GPUs than the mask gives it.
    """
    if device.kind != "xpu":
        return
    import torch

    xpu = getattr(torch, "xpu", None)
    number = xpu.device_count() if xpu is not None else 0
    if number != device.parallel:
        raise EngineError(
            f"{device}: PyTorch {torch.__version__} sees {number} Intel GPUs where ZE_AFFINITY_MASK={device.mask} "
            f"gives it {device.parallel}",
            mend="xpoll doctor",
        )


def xpu_options(device: Device) -> dict[str, Any]:
    """vLLM's options for an Intel GPU, by its product: block size, dtype, and what a product cannot do.

    Sources: vllm/platforms/xpu.py (bf16 on the A770), csrc/xpu/attn of vllm-xpu-kernels (attention needs Xe2), ALCF
    (eager mode on Max).
    """
    product = product_named(device.name)
    options: dict[str, Any] = {"block_size": 64, "dtype": "bfloat16"}
    if product is None:
        return options
    if not product.takes_graphs:
        options["enforce_eager"] = True
    if not product.computes_bf16:
        options["dtype"] = "float16"
    if not product.has_xe2_attention:
        options["attention_backend"] = "TRITON_ATTN"
    return options
