"""xpoll's overhead: documents per second against the bare engine, `vllm.LLM.generate` with all prompts at once.

Same model, prompts, sampling, engine options, vLLM and pinning; each measurement in a subprocess, the arms in
turn. Both sides start the engine before the clock starts. The bare engine gets tokenised prompts, all at once;
xpoll renders and tokenises within the measured time, passes prompts through Ray, and fsyncs every answer.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.records import Parameters, Record, alternating
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.benchmarks.workloads.example_job import example_config, example_prompts
from xpoll.core.errors import EngineError
from xpoll.core.files import read_json
from xpoll.core.models import resolve_model
from xpoll.core.run_folder import RunFolder
from xpoll.engine.devices.find import find_devices, pinning

BARE = "LLM.generate"


def measure(parameters: Parameters) -> Iterator[Record]:
    """The arms in turn, then the rate of each as a share of the bare engine's in the same repeat."""
    resolve_model(parameters["model"], key="parameters.model")  # prepares a packaged model before the clock starts
    (device,) = find_devices("cpu", 1)
    rates: dict[str, list[float]] = {arm: [] for arm in parameters["arms"]}
    log = Path(tempfile.gettempdir()) / f"xpoll-bench-overhead-{os.getpid()}.log"

    def measure_arm(arm: str, _repeat: int) -> Record:
        if arm == BARE:
            record = call_in_subprocess(bare_engine, parameters, environment=pinning(device), log=log)
        else:
            record = call_in_subprocess(xpoll, parameters, arm, log=log)
        rates[arm].append(record["documents_per_s"])
        return record

    yield from alternating(parameters, measure_arm)
    for arm in [arm for arm in rates if arm != BARE and BARE in rates]:
        for repeat, (bare, other) in enumerate(zip(rates[BARE], rates[arm], strict=True)):
            yield {"arm": f"{arm} against {BARE}", "repeat": repeat, f"{arm}_share": round(other / bare, 4)}
    log.unlink(missing_ok=True)


def bare_engine(parameters: Parameters) -> Record:
    """Figures of the bare engine: vLLM's own offline path."""
    from vllm import LLM

    from xpoll.engine.backends.vllm.in_process import default_options, sampling_params

    config = example_config(parameters)
    (device,) = find_devices("cpu", 1)
    llm = LLM(model=resolve_model(parameters["model"], key="parameters.model"), **default_options(device))
    tokenizer: Any = llm.get_tokenizer()
    prompts = list(example_prompts(parameters, config))
    inputs = [
        {
            "prompt_token_ids": tokenizer.apply_chat_template(
                list(prompt.messages), add_generation_prompt=True, tokenize=True, return_dict=False
            )
        }
        for prompt in prompts
    ]
    params = [sampling_params(prompt, prompt.sampling.max_tokens or 1) for prompt in prompts]
    begun_s = time.perf_counter()
    outputs = llm.generate(inputs, params, use_tqdm=False)
    wall_s = time.perf_counter() - begun_s
    scheduler = llm.llm_engine.vllm_config.scheduler_config
    return {
        **_figures(parameters, len(outputs), wall_s),
        "prompt_tokens": sum(len(output.prompt_token_ids) for output in outputs),
        "cached_prompt_tokens": sum(output.num_cached_tokens or 0 for output in outputs),
        "output_tokens": sum(len(output.outputs[0].token_ids) for output in outputs),
        "max_num_seqs": scheduler.max_num_seqs,
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
    }


def xpoll(parameters: Parameters, arm: str) -> Record:
    """Figures of xpoll: Ray, worker, dispatcher, journal; from readiness to the last answer on disk.

    Args:
        parameters: Of the suite.
        arm: "server" runs vLLM as a server of its own, any other arm inside the worker.

    Raises:
        EngineError: a prompt was not answered.
    """
    from xpoll.engine.journal.answers import read_completions
    from xpoll.engine.run import Workload, answer_prompts

    config = example_config(parameters)
    engine = config.engine
    if arm == "server":
        engine = engine.model_copy(update={"server_command": parameters["server_command"]})
    documents, asked_each = parameters["documents"], len(parameters["personas"])
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        answer_prompts(Workload(example_prompts(parameters, config), documents, asked_each), config=engine, folder=run)
        completions = list(read_completions(run.completions))
        wall_s = read_json(run.engine)["sessions"][-1]["wall_s"]
    if errors := [completion.error for completion in completions if completion.error_kind]:
        raise EngineError(f"{len(errors)} prompts were not answered: {errors[0]}")
    return {
        **_figures(parameters, len(completions), wall_s),
        **{
            name: sum(getattr(completion, name) for completion in completions)
            for name in ("prompt_tokens", "cached_prompt_tokens", "output_tokens")
        },
    }


def _figures(parameters: Parameters, answers: int, wall_s: float) -> Record:
    documents = parameters["documents"]
    if answers != documents * len(parameters["personas"]):
        raise EngineError(f"{answers} answers to {documents} documents and {len(parameters['personas'])} personas")
    return {
        "documents": documents,
        "answers": answers,
        "wall_s": round(wall_s, 3),
        "documents_per_s": round(documents / wall_s, 4),
    }
