"""Runs a student in PyTorch, on all devices there are. Imports torch: import it where it is needed."""

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch

from xpoll.core.errors import ConfigError
from xpoll.core.machine.device import all_devices
from xpoll.student.training.first_token import last_layer_at_first_token


class TorchForward:
    """Batches of token ids to logits; each device has a copy of the model and takes the next batch when it is free."""

    def __init__(self, model: Any, devices: Sequence[torch.device]) -> None:
        copies = [model, *(copy.deepcopy(model) for _ in devices[1:])]
        self._models = [(each.to(device), device) for each, device in zip(copies, devices, strict=True)]

    def __call__(self, batches: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
        """(texts, labels) float32 logits of each batch."""
        waiting: SimpleQueue[int] = SimpleQueue()
        for number in range(len(batches)):
            waiting.put(number)
        found: list[np.ndarray] = [np.empty(0)] * len(batches)

        def work(model: Any, device: torch.device) -> None:
            with torch.inference_mode(), last_layer_at_first_token(model):
                while True:
                    try:
                        number = waiting.get_nowait()
                    except Empty:
                        return
                    inputs = {name: torch.from_numpy(value).to(device) for name, value in batches[number].items()}
                    found[number] = model(**inputs).logits.float().cpu().numpy()

        if len(self._models) == 1:
            work(*self._models[0])
        else:
            with ThreadPoolExecutor(len(self._models)) as pool:
                list(pool.map(lambda each: work(*each), self._models))
        return found


def devices_named(name: str | None) -> list[torch.device]:
    """The device of that name, e.g. cpu or xpu:1; without one all accelerators, or the CPU.

    Raises:
        ConfigError: PyTorch has no such device.
    """
    if name is None:
        return all_devices()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ", ".join(dict.fromkeys(["cpu", *map(str, all_devices())]))
        raise ConfigError(f"PyTorch has no device {name!r} here", mend=f"name one of: {there}") from error
    return [device]
