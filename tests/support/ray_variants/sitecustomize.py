"""Makes the Ray of every process below behave like another release where it pins Intel GPUs.

RAY_LIKE: "selector", before 2.58: writes ONEAPI_DEVICE_SELECTOR. "both", 2.58: writes the mask, and a
selector that counts anew within it. Each has an opt-out of its own. Written from the descriptions of these
releases; without the variable nothing is changed.
"""

import importlib.abc
import importlib.util
import os
import sys
from typing import Any

MODULE = "ray._private.accelerators.intel_gpu"


def _like(variant: str, manager: Any) -> None:
    def opted_out(name: str) -> bool:
        return os.environ.get(f"RAY_EXPERIMENTAL_NOSET_{name}", "").lower() in ("1", "true")

    def pin(numbers: list[str]) -> None:
        chosen = ",".join(map(str, numbers))
        if variant == "selector":
            if not opted_out("ONEAPI_DEVICE_SELECTOR"):
                os.environ["ONEAPI_DEVICE_SELECTOR"] = f"level_zero:{chosen}"
            return
        if not opted_out("ZE_AFFINITY_MASK"):
            os.environ["ZE_AFFINITY_MASK"] = chosen
        if not opted_out("ONEAPI_DEVICE_SELECTOR"):
            counted_anew = ",".join(str(i) for i in range(len(numbers)))
            os.environ["ONEAPI_DEVICE_SELECTOR"] = f"level_zero:{counted_anew}"

    manager.set_current_process_visible_accelerator_ids = staticmethod(pin)
    if variant == "selector":
        manager.get_visible_accelerator_ids_env_var = staticmethod(lambda: "ONEAPI_DEVICE_SELECTOR")


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def changed(module: Any) -> None:
            execute(module)
            _like(os.environ["RAY_LIKE"], module.IntelGPUAcceleratorManager)

        spec.loader.exec_module = changed  # type: ignore[method-assign]
        return spec


if os.environ.get("RAY_LIKE"):
    sys.meta_path.insert(0, _Finder())
