"""Asks vLLM's server for a structured decision about every row; the answer is the name of a label."""

import asyncio
import sys

import aiohttp
from peer_job import AnswerLog, api_key, read_job


async def main() -> int:
    """Asks about all rows; the exit code is 1 if a row has no answer."""
    job, failed = read_job(), 0
    answers = AnswerLog(job)
    free = asyncio.Semaphore(job.in_flight)
    question = {"type": "choice", "instructions": job.question, "criteria": dict.fromkeys(job.choices)}
    headers = {"Authorization": f"Bearer {api_key()}"}

    async def ask(session: aiohttp.ClientSession, row: dict) -> None:
        nonlocal failed
        body = {"model": job.model, "state": row["text"], "questions": {"label": question}}
        async with free, session.post(f"{job.endpoint}/systemone", json=body) as reply:
            told = await reply.json(content_type=None)
            if reply.status != 200:
                failed += 1
                sys.stderr.write(f"{row['id']}: {reply.status} {str(told)[:300]}\n")
                return
        answers.write(row["id"], 0, told["answers"]["label"]["choice"])

    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(ask(session, row) for row in job.rows))
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
