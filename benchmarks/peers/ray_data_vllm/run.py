"""Asks a vLLM engine of Ray Data LLM about every row; one row per sample, because it keeps one answer of a request."""

import os

from peer_job import AnswerLog, read_job

job = read_job()
if job.options["tuned"]:
    os.environ.update(job.environment)

import ray  # noqa: E402
from ray.data.llm import build_processor, vLLMEngineProcessorConfig  # noqa: E402

asked = [
    {"row_id": row["id"], "sample": sample, "messages": row["messages"]}
    for row in job.rows
    for sample in range(job.samples)
]
# By default each of its five stages takes a core, and on a machine with fewer the engine waits for one for ever.
ray.init(num_cpus=8)
sampling = {"temperature": job.temperature, "top_p": job.top_p, "max_tokens": job.max_tokens}
sampling["structured_outputs"] = job.constraint
variables = job.environment if job.options["tuned"] else {}
engine = {**(job.engine if job.options["tuned"] else {}), "distributed_executor_backend": "mp"}
config = vLLMEngineProcessorConfig(
    model_source=job.model,
    engine_kwargs=engine,
    runtime_env={"env_vars": variables},
    placement_group_config={"bundles": [{"CPU": 1}]},
    concurrency=1,
    should_continue_on_error=True,
    **({"batch_size": job.options["batch_size"]} if "batch_size" in job.options else {}),
)
processor = build_processor(
    config,
    preprocess=lambda row: {"messages": row["messages"], "sampling_params": sampling, **row},
    postprocess=lambda row: {"row_id": row["row_id"], "sample": row["sample"], "text": row["generated_text"]},
)
answers = AnswerLog(job)
for row in processor(ray.data.from_items(asked)).iter_rows():
    if not row.get("__inference_error__"):
        answers.write(row["row_id"], row["sample"], row["text"])
