"""What differs between the versions of vLLM that run inside a worker: 0.14 to the newest, one function a difference.

Both stacks for Intel GPUs need it: "lts" (vLLM 0.14 or 0.15 with IPEX) and "modern" (0.32 and later, with
vllm-xpu-kernels). The signatures of each version are recorded in tests/support/vllm_versions.json, and the
backend is driven against all of them.
"""

import dataclasses
import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from xpoll.core.errors import EngineError


def version() -> str:
    """Of the vLLM that is installed."""
    import vllm

    return str(getattr(vllm, "__version__", "of an unknown version"))


def engine_args(model: str, defaults: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """AsyncEngineArgs. What xpoll would set and this version no longer knows is left out.

    Raises:
        EngineError: the job asks for an argument that this version does not know.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs

    known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"did you mean engine.vllm.{near[0]}?" if near else "leave it out, or take another vLLM"
            raise EngineError(f"engine.vllm.{name}: vLLM {version()} has no such argument", mend=mend)
    ours = {name: value for name, value in defaults.items() if name in known}
    return AsyncEngineArgs(model=model, **{**ours, **asked})


async def tokenizer_of(engine: Any) -> Any:
    """The engine's tokenizer; asked for with `await` up to 0.14."""
    found = engine.get_tokenizer()
    return await found if inspect.isawaitable(found) else found


def constraint_on(constraint: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter of SamplingParams that constrains an answer; none where nothing constrains it.

    Called `guided_decoding` before 0.11.
    """
    if not constraint:
        return {}
    from vllm import sampling_params

    made = getattr(sampling_params, "StructuredOutputsParams", None)
    if made is not None:
        return {"structured_outputs": made(**constraint)}
    return {"guided_decoding": sampling_params.GuidedDecodingParams(**constraint)}


def request_errors() -> tuple[type[Exception], ...]:
    """What vLLM raises of a request's own fault; ValueError and TypeError alone before 0.27 had a class for it."""
    try:
        from vllm.exceptions import VLLMClientError
    except ImportError:
        return (ValueError, TypeError)
    return (ValueError, TypeError, VLLMClientError)


def waiting_requests(scheduler_stats: Any) -> int:
    """Requests that wait; from 0.20 on those that wait for a grammar or a place in the cache are counted apart."""
    return int(scheduler_stats.num_waiting_reqs + getattr(scheduler_stats, "num_skipped_waiting_reqs", 0))
