"""Differences between the versions of vLLM that run inside a worker: 0.14 to the newest, one function per difference.

Both stacks for Intel GPUs need it: "lts" (vLLM 0.14 or 0.15 with IPEX) and "modern" (0.32 and later, with
vllm-xpu-kernels). The signatures of each version are recorded in tests/support/vllm_versions.json, and the
backend is tested against all of them.
"""

import dataclasses
import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from xpoll.core.errors import EngineError
from xpoll.engine.devices.stacks import first_without_ipex, number


def version() -> str:
    """The version of the installed vLLM."""
    import vllm

    return str(getattr(vllm, "__version__", "of an unknown version"))


def engine_args(model: str, defaults: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """The AsyncEngineArgs of an engine.

    Args:
        model: Folder or hub name.
        defaults: xpoll's options; those that this version does not know are left out.
        asked: The job's options; they override the defaults.

    Raises:
        EngineError: the job sets an argument that this version does not know.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs

    known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"did you mean engine.vllm.{near[0]}?" if near else "leave it out, or take another vLLM"
            raise EngineError(f"engine.vllm.{name}: vLLM {version()} has no such argument", mend=mend)
    ours = {name: value for name, value in defaults.items() if name in known}
    if len(number(version())) > 0 and number(version()) < first_without_ipex():
        ours.pop("attention_backend", None)  # IPEX has attention for every card
    return AsyncEngineArgs(model=model, **{**ours, **asked})


async def tokenizer_of(engine: Any) -> Any:
    """The engine's tokenizer; `get_tokenizer` is a coroutine up to 0.14."""
    found = engine.get_tokenizer()
    return await found if inspect.isawaitable(found) else found


def constraint_on(constraint: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword argument of SamplingParams that constrains an answer; empty without a constraint.

    It is `guided_decoding` before 0.11.
    """
    if not constraint:
        return {}
    from vllm import sampling_params

    made = getattr(sampling_params, "StructuredOutputsParams", None)
    if made is not None:
        return {"structured_outputs": made(**constraint)}
    return {"guided_decoding": sampling_params.GuidedDecodingParams(**constraint)}


def request_errors() -> tuple[type[Exception], ...]:
    """The exceptions that vLLM raises for a bad request; before 0.27 only ValueError and TypeError."""
    try:
        from vllm.exceptions import VLLMClientError
    except ImportError:
        return (ValueError, TypeError)
    return (ValueError, TypeError, VLLMClientError)


def waiting_requests(scheduler_stats: Any) -> int:
    """Number of waiting requests; from 0.20 on, those that wait for a grammar or for cache are counted separately."""
    return int(scheduler_stats.num_waiting_reqs + getattr(scheduler_stats, "num_skipped_waiting_reqs", 0))


def steps_in_one_process() -> bool:
    """Whether its CPU platform lets the engine and the model be in one process: from 0.32, the first that was tried."""
    return number(version()) >= (0, 32)


def reads_tokens() -> bool:
    """Whether vLLM tells of the tokens that it is asked about, `logprob_token_ids`; without it a read is a label."""
    from vllm import SamplingParams

    return "logprob_token_ids" in inspect.signature(SamplingParams).parameters
