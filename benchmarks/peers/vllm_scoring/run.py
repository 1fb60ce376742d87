"""Asks vLLM's server how likely each label's first token is; the answer is the likeliest label.

A response has the probability of the first token asked for alone, so each label but the last takes a request.
"""

import asyncio
import sys
from itertools import takewhile

import aiohttp
from peer_job import AnswerLog, api_key, read_job

TEXTS = 32
"""Texts a request."""


async def main() -> int:
    """Asks about all rows; the exit code is 1 where the endpoint refuses."""
    job = read_job()
    answers, root = AnswerLog(job), job.endpoint.removesuffix("/v1")

    async def told(path: str, body: dict) -> dict:
        async with session.post(f"{root}/{path}", json={"model": job.model, **body}) as reply:
            if reply.status != 200:
                raise RuntimeError(f"{path}: {reply.status} {(await reply.text())[:300]}")
            return await reply.json()

    async def tokens(body: dict) -> list[int]:
        return (await told("tokenize", body))["tokens"]

    async def read(rows: list[dict]) -> None:
        asked = [{"messages": row["label_messages"], "add_generation_prompt": True} for row in rows]
        prompts = await asyncio.gather(*map(tokens, asked))
        same = takewhile(lambda column: len(set(column)) == 1, zip(*(prompt[:-1] for prompt in prompts), strict=False))
        shared = sum(1 for _ in same)
        body = {"query": prompts[0][:shared], "items": [prompt[shared:] for prompt in prompts]}
        scores = []
        for label in first[:-1]:
            order = [label, *(each for each in first if each != label)]
            found = await told("generative_scoring", {**body, "label_token_ids": order})
            scores.append([each["score"] for each in sorted(found["data"], key=lambda each: each["index"])])
        for row, probabilities in zip(rows, zip(*scores, strict=True), strict=True):
            every = [*probabilities, 1 - sum(probabilities)]
            answers.write(row["id"], 0, job.choices[every.index(max(every))])

    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {api_key()}"}) as session:
        words = [{"prompt": label, "add_special_tokens": False} for label in job.choices]
        first = [found[0] for found in await asyncio.gather(*map(tokens, words))]
        if len(set(first)) < len(first):
            raise RuntimeError("two labels begin with the same token")
        await asyncio.gather(*(read(job.rows[at : at + TEXTS]) for at in range(0, len(job.rows), TEXTS)))
    return 0


sys.exit(asyncio.run(main()))
