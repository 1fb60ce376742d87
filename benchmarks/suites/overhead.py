"""What xpoll costs beside the bare engine: documents a second against `vllm.LLM.generate` fed everything at once.

Same model, prompts, sampling, engine options, vLLM and pinning; each measurement in a process of its
own, the arms in turn. Both sides start the engine before the clock. The bare engine gets its prompts
tokenised and all at once; xpoll renders and tokenises within its time, passes them through Ray, and
fsyncs every answer.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.fresh import in_fresh_process
from xpoll.benchmarks.runner.records import Parameters, Record, alternating
from xpoll.core.config import Config
from xpoll.core.config_file import load_config
from xpoll.core.errors import EngineError
from xpoll.core.files import read_json
from xpoll.core.models import resolve_model
from xpoll.core.records import Prompt
from xpoll.core.run_folder import RunFolder
from xpoll.engine.devices.find import find_devices, pinning
from xpoll.personas.documents import stream_documents
from xpoll.personas.persona import load_panel
from xpoll.personas.prompts import build_prompts

EXAMPLE = Path(__file__).parents[2] / "examples" / "investor_sentiment"
BARE = "LLM.generate"


def measure(parameters: Parameters) -> Iterator[Record]:
    """The arms in turn, then the rate of each against the bare engine's in the same repeat."""
    resolve_model(parameters["model"], key="parameters.model")  # a packaged one is prepared before the clock
    (device,) = find_devices("cpu", 1)
    rates: dict[str, list[float]] = {arm: [] for arm in parameters["arms"]}
    log = Path(tempfile.gettempdir()) / f"xpoll-bench-overhead-{os.getpid()}.log"

    def measure(arm: str, repeat: int) -> Record:
        if arm == BARE:
            record = in_fresh_process(bare_engine, parameters, environment=pinning(device), log=log)
        else:
            record = in_fresh_process(xpoll, parameters, arm, log=log)
        rates[arm].append(record["documents_per_s"])
        return record

    yield from alternating(parameters, measure)
    for arm in [arm for arm in rates if arm != BARE and BARE in rates]:
        for repeat, (bare, other) in enumerate(zip(rates[BARE], rates[arm], strict=True)):
            yield {"arm": f"{arm} against {BARE}", "repeat": repeat, f"{arm}_share": round(other / bare, 4)}
    log.unlink(missing_ok=True)


def bare_engine(parameters: Parameters) -> Record:
    """vLLM's own offline path."""
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
    params = [sampling_params(prompt, config.panel.answer_max_tokens) for prompt in prompts]
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
    """The whole engine: Ray, worker, dispatcher, journal; from its being ready to the last answer on disk."""
    from xpoll.engine.journal.journal import read_completions
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


def example_config(parameters: Parameters) -> Config:
    """The example job with the suite's model and personas."""
    overrides = [
        f'documents.path="{EXAMPLE / "documents.csv"}"',
        f'documents.gold_path="{EXAMPLE / "gold.csv"}"',
        f'engine.model="{parameters["model"]}"',
        'engine.device="cpu"',
        f"panel.personas={parameters['personas']}",
    ]
    return load_config(EXAMPLE / "job.toml", overrides)


def example_prompts(parameters: Parameters, config: Config) -> Iterator[Prompt]:
    """The example's first documents, each put to the suite's personas."""
    documents = stream_documents(config.documents, list(config.task.labels))
    return build_prompts(islice(documents, parameters["documents"]), load_panel(config.panel.personas), config)
