"""Asks an endpoint about every row through Ray Data LLM's HTTP processor."""

import ray
from peer_job import AnswerLog, api_key, read_job
from ray.data.llm import HttpRequestProcessorConfig, build_processor

job = read_job()
settings = dict(job.options)
batch_size = settings.pop("batch_size")
config = HttpRequestProcessorConfig(
    url=f"{job.endpoint}/chat/completions",
    headers={"Authorization": f"Bearer {api_key()}"},
    qps=None,
    batch_size=batch_size,
    concurrency=1,
    **settings,
)
processor = build_processor(
    config,
    preprocess=lambda row: {"payload": job.request(row), "row_id": row["id"]},
    postprocess=lambda row: {"row_id": row["row_id"], "choices": row["http_response"].get("choices", [])},
)
answers = AnswerLog(job)
for row in processor(ray.data.from_items(job.rows)).iter_rows():
    for choice in row["choices"]:
        answers.write(row["row_id"], int(choice["index"]), choice["message"]["content"] or "")
