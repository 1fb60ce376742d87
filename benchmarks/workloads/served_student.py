"""A student behind `xpoll serve`, asked by some clients at a time; and the same student in this process.

The clients share the machine with the server, so its figures hold their cost, too.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.benchmarks.runner.records import Record
from xpoll.core.config.job import StudentConfig

LABELS = ["negative", "neutral", "positive"]


def untrained_student(folder: Path, encoder: str) -> None:
    """Writes a student whose head is not trained: it takes the time that a trained one takes."""
    from xpoll.student.training.encoder import load_for_training

    made = load_for_training(StudentConfig(encoder=encoder), LABELS, seed=0)
    made.tokenizer.save_pretrained(folder)
    made.model.save_pretrained(folder)


@contextmanager
def served_student(folder: Path) -> Iterator[str]:
    """The address of a server of the student, for the duration of the block."""
    command = [sys.executable, "-P", "-m", "xpoll", "serve", str(folder), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["address"])
        finally:
            process.terminate()


def ask_server(address: str, model: str, texts: Sequence[str], *, clients: int, requests: int) -> Record:
    """Rate and latencies of requests for one decision about one text each, of which `clients` are under way.

    Args:
        address: Of the API.
        model: Its name there.
        texts: Asked about in turn.
        clients: How many ask, each again when it is answered.
        requests: How many in all.
    """
    choices = [{"value": label} for label in LABELS]
    question = {"type": "choice", "instructions": "Which label fits the text best?", "choices": choices}
    bodies = [{"model": model, "input": text, "questions": [question]} for text in islice(cycle(texts), requests)]
    return _figures(*asyncio.run(_asked(f"{address}/decisions", bodies, clients)))


def ask_in_process(model: Any, texts: Sequence[str], *, batch: int, requests: int) -> Record:
    """The same texts through a loaded student, `batch` at a time.

    Args:
        model: A `StudentModel`.
        texts: Asked about in turn.
        batch: How many together.
        requests: How many in all.
    """
    wanted = list(islice(cycle(texts), requests))
    latencies_s = []
    begun_s = time.perf_counter()
    for first in range(0, requests, batch):
        asked_s = time.perf_counter()
        together = wanted[first : first + batch]
        model.probabilities(together)
        latencies_s += [time.perf_counter() - asked_s] * len(together)
    return _figures(latencies_s, time.perf_counter() - begun_s)


async def _asked(url: str, bodies: Sequence[Any], clients: int) -> tuple[list[float], float]:
    import aiohttp

    latencies_s: list[float] = []
    left = iter(bodies)

    async def client(session: aiohttp.ClientSession) -> None:
        for body in left:
            asked_s = time.perf_counter()
            async with session.post(url, json=body) as reply:
                await reply.read()
                assert reply.status == 200, reply.status
            latencies_s.append(time.perf_counter() - asked_s)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        begun_s = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        return latencies_s, time.perf_counter() - begun_s


def _figures(latencies_s: Sequence[float], wall_s: float) -> Record:
    middle_ms, high_ms = 1000 * np.quantile(latencies_s, [0.5, 0.95])
    return {
        "requests": len(latencies_s),
        "wall_s": round(wall_s, 3),
        "requests_per_s": round(len(latencies_s) / wall_s, 1),
        "latency_p50_ms": round(float(middle_ms), 2),
        "latency_p95_ms": round(float(high_ms), 2),
    }
