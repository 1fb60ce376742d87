"""Time and memory of a vote on very many answers: records in, one consensus per document out, no files."""

import time

import numpy as np

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.runner.subprocess_call import peak_memory_mib
from xpoll.core.config.job import Config
from xpoll.core.records import Document, Vote
from xpoll.votes.consensus import consensus_of

LABELS = ["negative", "neutral", "positive"]


def measure_once(method: str, num_votes: int, num_personas: int) -> Record:
    """Figures of one vote on drawn answers: seconds, and peak memory of this process in MiB.

    Args:
        method: `vote.method`.
        num_votes: Number of answers.
        num_personas: Answers per document.
    """
    draw = np.random.default_rng(0)
    size = (num_votes // num_personas, num_personas)
    truth = draw.integers(0, 3, size[0])
    hit = draw.random(size) < np.linspace(0.5, 0.9, num_personas)
    answers = np.where(hit, truth[:, None], (truth[:, None] + draw.integers(1, 3, size)) % 3).tolist()
    shares = [tuple(0.8 if i == j else 0.1 for j in range(3)) for i in range(3)]
    votes = [
        Vote(f"d{i}", f"p{j}", 0, LABELS[answer], None, 0.8, shares[answer])
        for i, row in enumerate(answers)
        for j, answer in enumerate(row)
    ]
    documents = [Document(f"d{i}", "text", "train") for i in range(size[0])]
    config = Config.model_validate(
        {
            "documents": {"path": "none.csv"},
            "task": {"labels": LABELS},
            "panel": {"personas": [f"p{j}" for j in range(num_personas)]},
            "vote": {"method": method},
        }
    )
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    consensus = consensus_of(documents, votes, config)
    wall_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
    right = sum(row.label == LABELS[label] for row, label in zip(consensus, truth, strict=True))
    return {
        "votes": len(votes),
        "personas": num_personas,
        "vote_wall_s": round(wall_s, 3),
        "vote_cpu_s": round(cpu_s, 3),
        "vote_peak_mib": peak_memory_mib(),
        "right_share": round(right / len(consensus), 4),
    }
