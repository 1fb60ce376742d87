"""Asks an endpoint about every row with datatrove's InferenceRunner; each sample is a rollout, a request of its own.

Answers are passed on in the rollout, as soon as they are there; on a restart its cache gives the earlier ones again.
"""

import sys

from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.inference.servers import EndpointServer
from datatrove.pipeline.writers import JsonlWriter
from peer_job import AnswerLog, api_key, read_job

job = read_job()
answers = AnswerLog(job)
key = api_key()
# To an address of this machine it sends no key, and puts /v1 behind it; elsewhere it asks with the openai client.
address = job.endpoint.removesuffix("/v1") if key == "none" else job.endpoint.replace("127.0.0.1", "127.1")
numbers: dict[str, int] = {}


async def is_ready(_server) -> bool:
    """Whether the endpoint is up: it is; datatrove would ask without the key, and at another path than it uses then."""
    return True


if key != "none":
    EndpointServer.is_ready = is_ready


async def ask(document: Document, generate) -> dict:
    """One rollout of a document."""
    request = job.request({"messages": document.metadata["messages"]}, samples=1)
    body = {name: value for name, value in request.items() if name not in ("model", "n")}
    if key != "none":
        body["extra_body"] = {"structured_outputs": body.pop("structured_outputs")}
    found = await generate(body)
    number = numbers[document.id] = numbers.get(document.id, -1) + 1
    answers.write(document.id, number, found.text)
    return {"text": found.text}


def documents(_data, rank: int = 0, world_size: int = 1):  # noqa: ARG001
    """The rows."""
    for row in job.rows:
        yield Document(text=row["text"], id=row["id"], metadata={"messages": row["messages"]})


runner = InferenceRunner(
    rollout_fn=ask,
    config=InferenceConfig(
        server_type="endpoint",
        model_name_or_path=job.model,
        endpoint_url=address,
        api_key=key,
        rollouts_per_document=job.samples,
        max_concurrent_generations=job.in_flight,
    ),
    output_writer=JsonlWriter(
        str(job.folder / "output"), output_filename="${rank}_chunk_${chunk_index}.jsonl", compression=None
    ),
    checkpoints_local_dir=str(job.folder / "checkpoints"),
    records_per_chunk=job.options["records_per_chunk"],
    skip_bad_requests=True,
)
if __name__ == "__main__":
    LocalPipelineExecutor([documents, runner], logging_dir=str(job.folder / "logs"), skip_completed=True).run()
    sys.exit(0)
