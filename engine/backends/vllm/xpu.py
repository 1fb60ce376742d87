"""Checks in a worker before it starts an engine on an Intel GPU.

Whether the process sees its card and no other is known only at run time, so it is checked before minutes are
spent on loading a model.
"""

import os

from xpoll.core.errors import EngineError
from xpoll.engine.devices.find import Device, problem_of
from xpoll.engine.devices.intel_cards import read_cards


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
