"""What PyTorch computes on here. Imports torch: import it where it is needed."""

import torch


def best_device() -> torch.device:
    """The accelerator (XPU, CUDA, ...) that PyTorch can use now, else the CPU.

    A build of PyTorch for an accelerator names it on machines without one, too, unless it is told to look.
    """
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def all_devices() -> list[torch.device]:
    """Every accelerator of the kind of `best_device`, by number, or the CPU alone."""
    best = best_device()
    if best.type == "cpu":
        return [best]
    return [torch.device(best.type, number) for number in range(torch.accelerator.device_count())]
