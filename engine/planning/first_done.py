"""Which engine is done first where nothing but a CPU is there and the job is small, so that its start is most of it."""

import json
from collections.abc import Sequence

from xpoll.core.config.job import EngineConfig
from xpoll.core.machine.environment import package_version
from xpoll.core.models import model_file
from xpoll.core.records import Prompt
from xpoll.engine.backends.openvino.conversion import why_not_converted
from xpoll.engine.devices.find import Device
from xpoll.engine.planning.model_shape import ModelShapeOnDisk

START_S = "9 to 12 s in place of 18 to 21"
EVEN_AT = 3.3e11
"""Tokens to compute times parameters up to which OpenVINO GenAI is done first.

What its start is ahead by, vLLM makes up for with 5e11: half the rate, and 20 documents of three prompts of 63 tokens
by 135M parameters (`xpoll bench backends`). Less a third, as other machines start and compute at other rates.
"""


def first_done(
    config: EngineConfig,
    devices: Sequence[Device],
    shape: ModelShapeOnDisk | None,
    first: Prompt,
    *,
    prompts: int,
    tokens_each: float,
) -> list[str]:
    """A sentence where vLLM on CPUs would be overtaken by an engine that starts faster, else none.

    Args:
        config: The engine section.
        devices: The devices of the plan.
        shape: Of the model.
        first: One of the prompts.
        prompts: How many there are.
        tokens_each: Tokens to compute per prompt, those of the answer included.
    """
    on_cpus = config.backend == "vllm" and devices and all(device.kind == "cpu" for device in devices)
    if not on_cpus or config.tensor_parallel > 1 or config.address or shape is None:
        return []
    if first.answer.read or first.answer.logprobs:
        return []  # a read costs OpenVINO a request per label, and so do log-probabilities
    work = prompts * tokens_each * (shape.num_params or 0)
    file = model_file(config.model, "config.json")
    if not 0 < work <= EVEN_AT or file is None or package_version("openvino-genai") is None:
        return []
    if why_not_converted(json.loads(file.read_text(encoding="utf-8"))) is not None:
        return []
    return [
        f"a job this small is done first by OpenVINO GenAI, which starts in {START_S}: --set engine.backend=openvino"
    ]
