"""Starts a Ray of our own once for each environment, and prints what came of it, as JSON: a list.

python -m tests.support.selectors_tried '[{"ONEAPI_DEVICE_SELECTOR": "level_zero:gpu"}, ...]'
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.engine.cluster import ray_session
from xpoll.engine.devices.affinity import NARROWING

VARIED = (*NARROWING, "ZE_FLAT_DEVICE_HIERARCHY")


def tried(environment: dict[str, str]) -> dict[str, object]:
    """Masks of the devices and the GPUs that Ray has, or the error; and whether the environment is as before."""
    import ray

    for name in VARIED:
        os.environ.pop(name, None)
    os.environ.update(environment)
    config = EngineConfig(backend="tests.support.pinned:SeesBackend", model="none", device="xpu")
    try:
        with ray_session(config, log=Path(tempfile.mkdtemp(), "log")) as devices:
            found: dict[str, object] = {
                "masks": [device.mask for device in devices],
                "gpus": ray.cluster_resources().get("GPU", 0),
            }
    except EngineError as error:
        found = {"error": str(error)}
    return {**found, "kept": {name: os.environ[name] for name in VARIED if name in os.environ} == environment}


if __name__ == "__main__":
    print(json.dumps([tried(environment) for environment in json.loads(sys.argv[1])]))  # noqa: T201
