"""What a plan says of engines on Intel GPUs beside figures: graphs and what they need, and unusual ways to run."""

from collections.abc import Mapping, Sequence
from typing import Any

from xpoll.engine.devices.find import Device
from xpoll.engine.devices.intel_products import product_named
from xpoll.engine.devices.stacks import graphs


def intel_notes(devices: Sequence[Device], options: Mapping[str, Any]) -> list[str]:
    """Sentences on the Intel GPUs of a plan; none without such a device.

    Args:
        devices: The devices of the plan.
        options: The engine's options on the first of them, xpoll's defaults included.
    """
    device = next((device for device in devices if device.kind == "xpu"), None)
    if device is None:
        return []
    return [_graphs(device, options), *_composite(device), *_attention(device, options)]


def _graphs(device: Device, options: Mapping[str, Any]) -> str:
    product = product_named(device.name)
    if options.get("enforce_eager"):
        if product is not None and not product.takes_graphs:
            return f"XPU graphs: off, as nobody is known to have run them on {device.name}"
        return "XPU graphs: off, as engine.vllm.enforce_eager says"
    if options.get("enable_sleep_mode"):
        return "XPU graphs: off, because vLLM has none beside engine.vllm.enable_sleep_mode"
    need = graphs()
    return (
        f"XPU graphs: as vLLM has them, on since 0.32; they need torch {need.first_torch} or later and the oneAPI "
        f"runtime {need.oneapi} (xpoll doctor), and are off without"
    )


def _composite(device: Device) -> list[str]:
    product = product_named(device.name)
    if device.hierarchy != "COMPOSITE" or product is None or product.tiles == 1:
        return []
    return [
        f"device_hierarchy = 'COMPOSITE' makes one device of {product.tiles} tiles; nobody is known to run vLLM so: "
        f"device_hierarchy = 'FLAT' with tensor_parallel = {product.tiles} is the usual way"
    ]


def _attention(device: Device, options: Mapping[str, Any]) -> list[str]:
    product = product_named(device.name)
    if product is None or product.has_xe2_attention or options.get("attention_backend") != "TRITON_ATTN":
        return []
    slower = "3 to 4 times slower than those on a B60 (vLLM 47347)"
    return [f"attention: Triton's, as vllm-xpu-kernels has none for {product.name}; {slower}"]
