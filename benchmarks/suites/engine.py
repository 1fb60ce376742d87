"""vLLM as xpoll starts it: time to first token, time per output token, end-to-end latency.

One engine on the first device, in a subprocess; the prompts of examples/investor_sentiment, sampled by
temperature alone, with answers of a fixed length, so that every request decodes the same number of tokens.
Each concurrency is one closed loop, with that many requests in flight until all are answered. No Ray, no
journal: the suite `overhead` measures their cost.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.example_job import example_config, example_prompts
from xpoll.core.models import resolve_model
from xpoll.core.progress import say
from xpoll.engine.devices.find import find_devices, pinning

PERCENTILES = (50, 95, 99)


class Answered(NamedTuple):
    """One request.

    Attributes:
        first_s: Seconds to its first token.
        whole_s: Seconds to its last token.
        prompt_tokens: Tokens of the prompt.
        cached_tokens: Tokens of the prompt that came from the prefix cache.
        output_tokens: Tokens of the answer.
    """

    first_s: float
    whole_s: float
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int

    @property
    def per_token_s(self) -> float:
        """Seconds per token after the first."""
        return (self.whole_s - self.first_s) / max(1, self.output_tokens - 1)


def measure(parameters: Parameters) -> Iterator[Record]:
    """The engine's start, then every concurrency, `repeats` times."""
    resolve_model(parameters["model"], key="parameters.model")  # prepares a packaged model before the clock starts
    device = find_devices(parameters["device"], 0)[0]
    log = Path(tempfile.gettempdir()) / f"xpoll-bench-engine-{os.getpid()}.log"
    say(f"starting vLLM with {parameters['model']} on {device}")
    found = call_in_subprocess(sweep, parameters, environment=pinning(device), log=log)
    yield {"arm": "start", "startup_s": found["startup_s"]}
    yield from found["records"]
    log.unlink(missing_ok=True)


def sweep(parameters: Parameters) -> Record:
    """Start and records of all concurrencies on one engine; to be called in a subprocess."""
    return asyncio.run(_sweep(parameters))


async def _sweep(parameters: Parameters) -> Record:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    from xpoll.engine.backends.vllm.in_process import default_options

    device = find_devices(parameters["device"], 0)[0]
    options = {**default_options(device), **parameters.get("vllm", {})}
    begun_s = time.perf_counter()
    engine = AsyncLLM.from_engine_args(
        AsyncEngineArgs(model=resolve_model(parameters["model"], key="parameters.model"), **options),
        usage_context=UsageContext.LLM_CLASS,
    )
    startup_s = time.perf_counter() - begun_s
    try:
        tokens = _token_ids(engine.get_tokenizer(), parameters)
        await _closed_loop(engine, tokens[:2], 2, parameters, "warm-up")
        records = []
        for repeat in range(parameters["repeats"]):
            for concurrency in parameters["concurrency"]:
                await engine.reset_prefix_cache()
                number = min(len(tokens), parameters["requests_each"] * concurrency)
                chosen = tokens[:number]
                name = f"{repeat}-{concurrency}"
                answered, wall_s = await _closed_loop(engine, chosen, concurrency, parameters, name)
                about = {"arm": f"concurrency {concurrency}", "repeat": repeat, "concurrency": concurrency}
                records.append(about | figures(answered, wall_s, parameters))
    finally:
        engine.shutdown()
    return {"startup_s": round(startup_s, 3), "records": records}


def _token_ids(tokenizer: Any, parameters: Parameters) -> list[list[int]]:
    config = example_config(parameters)
    return [
        tokenizer.apply_chat_template(
            list(prompt.messages), add_generation_prompt=True, tokenize=True, return_dict=False
        )
        for prompt in example_prompts(parameters, config)
    ]


async def _closed_loop(
    engine: Any, prompts: Sequence[list[int]], concurrency: int, parameters: Parameters, name: str
) -> tuple[list[Answered], float]:
    """Sends all prompts with at most `concurrency` in flight; returns the answers and the total seconds."""
    left = iter(enumerate(prompts))
    answered: list[Answered] = []

    async def ask_on() -> None:
        for number, prompt in left:
            answered.append(await _ask(engine, prompt, parameters, f"{name}-{number}"))

    begun_s = time.perf_counter()
    await asyncio.gather(*(ask_on() for _ in range(concurrency)))
    return answered, time.perf_counter() - begun_s


async def _ask(engine: Any, prompt: list[int], parameters: Parameters, request: str) -> Answered:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    length = parameters["output_tokens"]
    params = SamplingParams(
        temperature=parameters["temperature"],
        min_tokens=length,
        max_tokens=length,
        ignore_eos=True,
        output_kind=RequestOutputKind.DELTA,
    )
    begun_s, first_s, output_tokens, cached = time.perf_counter(), 0.0, 0, 0
    async for output in engine.generate({"prompt_token_ids": prompt}, params, request):
        first_s = first_s or time.perf_counter() - begun_s
        output_tokens += len(output.outputs[0].token_ids)
        cached = max(cached, output.num_cached_tokens or 0)
    return Answered(first_s, time.perf_counter() - begun_s, len(prompt), cached, output_tokens)


def figures(answered: Sequence[Answered], wall_s: float, parameters: Parameters) -> Record:
    """Percentiles in milliseconds and rates of one loop.

    `goodput_per_s` counts the requests whose first token and complete answer came within the suite's bounds
    (`first_token_bound_ms`, `latency_bound_ms`).

    Args:
        answered: The requests.
        wall_s: Seconds of the whole loop.
        parameters: Of the suite.
    """
    record: Record = {"requests": len(answered), "wall_s": round(wall_s, 3)}
    for name, seconds in (
        ("first_token", [each.first_s for each in answered]),
        ("per_token", [each.per_token_s for each in answered]),
        ("latency", [each.whole_s for each in answered]),
    ):
        for percent, value in zip(PERCENTILES, np.percentile(seconds, PERCENTILES), strict=True):
            record[f"{name}_p{percent}_ms"] = round(1000 * float(value), 3)
    good = sum(
        1000 * each.first_s <= parameters["first_token_bound_ms"]
        and 1000 * each.whole_s <= parameters["latency_bound_ms"]
        for each in answered
    )
    prompt_tokens = sum(each.prompt_tokens for each in answered)
    return record | {
        "requests_per_s": round(len(answered) / wall_s, 4),
        "goodput_per_s": round(good / wall_s, 4),
        "output_tokens_per_s": round(sum(each.output_tokens for each in answered) / wall_s, 3),
        "prompt_tokens": prompt_tokens,
        "cached_share": round(sum(each.cached_tokens for each in answered) / prompt_tokens, 4),
    }
