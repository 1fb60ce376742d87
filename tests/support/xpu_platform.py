"""vLLM's own XPU platform without a GPU: a stand-in for torch.xpu, empty kernel modules, all else upstream's.

Run as a process of its own, `python tests/support/xpu_platform.py MODEL PRODUCT [OPTIONS]`, because vLLM settles on a
platform when it is imported. Prints what the engine would be started with as one line of JSON.
"""

import json
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

MEMORY_GIB = 48


class Kernels(Loader, MetaPathFinder):
    """Finds vllm_xpu_kernels and anything in it, with any name in that; nothing of it can be called to an end."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A package for every name."""
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] == "vllm_xpu_kernels" else None

    def exec_module(self, module: ModuleType) -> None:
        """Gives it every name that is asked for."""

        def missing(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda *_, **__: sys.exit(f"the stand-in was called: {module.__name__}.{name}")

        module.__getattr__ = missing  # type: ignore[method-assign]


def stand_in(product: str) -> None:
    """Makes torch and vLLM see one Intel GPU, whose kernels are there and do nothing."""
    import torch

    sys.meta_path.insert(0, Kernels())
    properties = SimpleNamespace(name=product, total_memory=MEMORY_GIB * 2**30, max_compute_units=448)
    shown: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda *_: product,
        "get_device_properties": lambda *_: properties,
        "get_device_capability": lambda *_: {},
    }
    for name, value in shown.items():
        assert hasattr(torch.xpu, name), f"torch.xpu has no {name} any more"
        setattr(torch.xpu, name, value)
    assert hasattr(torch.distributed, "is_xccl_available")
    torch.distributed.is_xccl_available = lambda: True

    import vllm.platforms

    vllm.platforms.builtin_platform_plugins.pop("cpu")  # this build's own


def facts(model: str, product: str, options: dict[str, Any]) -> dict[str, Any]:
    """The engine's configuration, after the XPU platform has had its say."""
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext

    from xpoll.engine.backends.vllm import versions
    from xpoll.engine.backends.vllm.in_process import default_options
    from xpoll.engine.devices.find import Device

    device = Device("xpu", 0, product, memory_gib=MEMORY_GIB)
    arguments = versions.engine_args(model, default_options(device), options)
    config = arguments.create_engine_config(usage_context=UsageContext.LLM_CLASS)
    return {
        "platform": type(current_platform).__name__,
        "device_type": current_platform.device_type,
        "mask": current_platform.device_control_env_var,
        "ray_key": current_platform.ray_device_key,
        "dist_backend": current_platform.dist_backend,
        "worker": config.parallel_config.worker_cls,
        "executor": str(config.parallel_config.distributed_executor_backend),
        "block_size": config.cache_config.block_size,
        "prefix_caching": config.cache_config.enable_prefix_caching,
        "memory_share": config.cache_config.gpu_memory_utilization,
        "dtype": str(config.model_config.dtype),
        "eager": config.model_config.enforce_eager,
        "graphs": config.compilation_config.cudagraph_mode.name,
        "chunked_prefill": config.scheduler_config.enable_chunked_prefill,
        "max_num_seqs": config.scheduler_config.max_num_seqs,
        "attention": _attention(config),
    }


def _attention(config: Any) -> str:
    """The attention backend that the platform picks for these heads."""
    from vllm.config import set_current_vllm_config
    from vllm.v1.attention.selector import get_attn_backend

    with set_current_vllm_config(config):
        found = get_attn_backend(
            config.model_config.get_head_size(), config.model_config.dtype, config.cache_config.cache_dtype
        )
    return str(found.get_name())


if __name__ == "__main__":
    stand_in(sys.argv[2])
    told = facts(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]) if len(sys.argv) > 3 else {})
    print(json.dumps(told))  # noqa: T201
