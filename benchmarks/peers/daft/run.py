"""Asks an endpoint about every row with Daft's prompt(); one row per sample: it keeps one answer of a request."""

import daft
from daft.ai.openai.provider import OpenAIProvider
from daft.functions.ai import prompt
from peer_job import AnswerLog, api_key, read_job

job = read_job()
system = job.rows[0]["messages"][0]["content"]
asked = [
    {"row_id": row["id"], "sample": sample, "user": row["messages"][-1]["content"]}
    for row in job.rows
    for sample in range(job.samples)
]
provider = OpenAIProvider("endpoint", base_url=job.endpoint, api_key=api_key())
answered = prompt(
    daft.col("user"),
    system_message=system,
    provider=provider,
    model=job.model,
    use_chat_completions=True,
    temperature=job.temperature,
    top_p=job.top_p,
    max_tokens=job.max_tokens,
    extra_body={"structured_outputs": job.constraint},
    concurrency=job.in_flight,
    on_error="log",
)
answers = AnswerLog(job)
for row in daft.from_pylist(asked).with_column("text", answered).iter_rows():
    if row["text"] is not None:
        answers.write(row["row_id"], row["sample"], row["text"])
