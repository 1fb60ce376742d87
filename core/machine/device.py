"""The devices that PyTorch computes on. Imports torch, so import this module inside the function that needs it."""

import torch


def best_device() -> torch.device:
    """The accelerator (XPU, CUDA, ...) that PyTorch can use now, else the CPU."""
    # Without check_available, a build of PyTorch for an accelerator names it also on machines that have none.
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def all_devices() -> list[torch.device]:
    """Every accelerator of the type of `best_device`, by number; the CPU alone where there is none."""
    best = best_device()
    if best.type == "cpu":
        return [best]
    return [torch.device(best.type, number) for number in range(torch.accelerator.device_count())]
