"""Reads each label of a text by itself on one engine, as a worker does, and scores the sets that come of it."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from xpoll.benchmarks.runner.records import Record
from xpoll.benchmarks.workloads.nlu_plus_plus import QUESTION, IntentRows
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.records import Completion, Document, Prompt, SetVote
from xpoll.engine.devices.find import Device
from xpoll.engine.planning.plan import make_plan
from xpoll.personas.persona import load_panel
from xpoll.personas.prompts import build_prompts
from xpoll.votes.compare_sets import set_scores
from xpoll.votes.label_sets import shares_of_sets
from xpoll.votes.methods.registry import METHODS
from xpoll.votes.tasks.registry import kind_of

JOB = """
[documents]
path = "texts.csv"
[task]
kind = "multi"
[panel]
answer = "read"
"""


def question_config(rows: IntentRows, *, model: str, personas: Sequence[str]) -> Config:
    """The job that asks about each intent of the data set, zero-shot."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "job.toml")
        path.write_text(JOB, encoding="utf-8")
        config = load_config(
            path, [f"engine.model={model}", f"panel.personas={list(personas)}", "task.labels=['a','b']"]
        )
    task = config.task.model_copy(update={"labels": rows.labels, "question": QUESTION})
    return config.model_copy(update={"task": task})


def measure_questions(
    config: Config,
    rows: IntentRows,
    device: Device,
    answered: Callable[[Sequence[Prompt]], Sequence[Completion]],
) -> Iterator[Record]:
    """What a text costs, then the scores of every way to count votes that have probabilities.

    Args:
        config: As `question_config` gives it.
        rows: What is labelled; the votes see no label.
        device: Where the engine runs.
        answered: Answers prompts on an engine whose cache holds nothing of them.
    """
    documents = [Document(str(number), text, "train") for number, text in enumerate(rows.texts)]
    kind, panel, names = kind_of("multi"), load_panel(config.panel.personas), list(config.task.labels)
    prompts = list(build_prompts(documents, panel, config, form=kind.form))
    plan = make_plan(
        {"persona_first": prompts},
        documents=len(documents),
        asked_each=config.panel.asked_each,
        config=config.engine,
        devices=[device],
    )
    begun_s = time.perf_counter()
    completions = answered(prompts)
    wall_s = time.perf_counter() - begun_s
    labels = len(documents) * len(names)
    uncached = sum(each.prompt_tokens - each.cached_prompt_tokens for each in completions)
    yield {
        "arm": "questions: cost",
        "texts": len(documents),
        "labels": len(names),
        "wall_s": round(wall_s, 2),
        "labels_per_s": round(labels / wall_s, 3),
        "texts_per_s": round(len(documents) / wall_s, 4),
        "uncached_tokens_per_label": round(uncached / labels, 2),
        "predicted_uncached_tokens_per_label": plan.uncached_tokens_per_label,
        "cached_share": round(1 - uncached / sum(each.prompt_tokens for each in completions), 4),
        "predicted_cached_share": plan.predicted_cached_share,
        "requests_per_read": plan.requests_per_read,
    }
    votes = [kind.parse(completion, names) for completion in completions]
    yield from question_scores([vote for vote in votes if isinstance(vote, SetVote)], rows)


def question_scores(votes: Sequence[SetVote], rows: IntentRows) -> Iterator[Record]:
    """Whole sets and single labels against the intents, by way of counting; the documents are numbered."""
    ids, names = [str(number) for number in range(len(rows.texts))], list(rows.labels)
    for name, method in METHODS.items():
        if method.of_sets is None:
            continue
        shares = shares_of_sets(ids, votes, names, name, correlation=0.5)
        scores = {key: round(value, 4) for key, value in set_scores(shares, rows.truth.astype(int)).items()}
        yield {
            "arm": f"questions: {name}",
            "texts": len(ids),
            "intents_each": round(float(rows.truth.sum(1).mean()), 3),
        } | scores
