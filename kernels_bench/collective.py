"""All-reduce over the devices of this machine, one process per device.

Backends, by PyTorch's names: xccl (Intel GPUs), nccl (NVIDIA), gloo (processors). Only gloo was run so far.
"""

import socket
import tempfile
from pathlib import Path
from typing import Any

import torch

from xpoll.core.files import read_json, write_json
from xpoll.kernels_bench.timing import Timer

SAMPLES, MOST_S = 20, 5.0


def all_reduce(device: str, world: int, mib: int) -> dict[str, Any]:
    """Median time (us) and algorithm bandwidth (GB/s) of an all-reduce of a bf16 array.

    Args:
        device: Type of device; "cpu" for processes on the processor.
        world: Number of processes, at least 2.
        mib: Size of the array in MiB.
    """
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        result = Path(folder) / "record.json"
        torch.multiprocessing.spawn(_take_part, (world, device, mib, port, str(result)), nprocs=world)
        record: dict[str, Any] = read_json(result)
        return record


def _take_part(rank: int, world: int, device: str, mib: int, port: int, result: str) -> None:
    import torch.distributed as dist

    here = device if device == "cpu" else f"{device}:{rank}"
    if device != "cpu":
        torch.accelerator.set_device_index(rank)
    backend = dist.get_default_backend_for_device(device)
    dist.init_process_group(backend, f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    array = torch.ones(mib * 2**19, dtype=torch.bfloat16, device=here)
    seconds = [Timer(here, samples=1, most_s=MOST_S)._time(lambda: dist.all_reduce(array), 1) for _ in range(SAMPLES)]
    seconds = sorted(seconds[3:])
    if rank == 0:
        median_s = seconds[len(seconds) // 2]
        gb_per_s = mib * 2**20 / median_s / 1e9
        write_json(Path(result), {"backend": backend, "median_us": median_s * 1e6, "gb_per_s": gb_per_s})
    dist.destroy_process_group()
