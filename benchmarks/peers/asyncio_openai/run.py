"""Asks an endpoint about every row with the openai client: asyncio.gather behind a semaphore."""

import asyncio
import sys

from openai import AsyncOpenAI, BadRequestError, OpenAIError
from peer_job import AnswerLog, api_key, read_job


async def main() -> int:
    """Asks about all rows; the exit code is 1 if a row has no answer that could have one."""
    job, failed = read_job(), 0
    answers = AnswerLog(job)
    client = AsyncOpenAI(base_url=job.endpoint, api_key=api_key())
    free = asyncio.Semaphore(job.in_flight)

    async def ask(row: dict) -> None:
        nonlocal failed
        body = job.request(row)
        constraint = body.pop("structured_outputs")
        async with free:
            try:
                reply = await client.chat.completions.create(**body, extra_body={"structured_outputs": constraint})
            except OpenAIError as error:
                failed += not isinstance(error, BadRequestError)  # asking again would not help
                sys.stderr.write(f"{row['id']}: {error}\n")
                return
        for choice in reply.choices:
            answers.write(row["id"], choice.index, choice.message.content or "")

    await asyncio.gather(*map(ask, job.rows))
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
