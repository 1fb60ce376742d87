"""The prompts of examples/investor_sentiment, for suites that run a real engine."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from xpoll.benchmarks.runner.records import Parameters
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.records import Prompt
from xpoll.personas.documents import stream_documents
from xpoll.personas.persona import load_panel
from xpoll.personas.prompts import build_prompts

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "investor_sentiment"


def example_config(parameters: Parameters) -> Config:
    """The example job on the CPU, with the suite's `model` and `personas`."""
    overrides = [
        f'documents.path="{EXAMPLE / "documents.csv"}"',
        f'documents.gold_path="{EXAMPLE / "gold.csv"}"',
        f'engine.model="{parameters["model"]}"',
        'engine.device="cpu"',
        f"panel.personas={parameters['personas']}",
    ]
    return load_config(EXAMPLE / "job.toml", overrides)


def example_prompts(parameters: Parameters, config: Config) -> Iterator[Prompt]:
    """The prompts of the example's first documents, as many as the suite's `documents`.

    Args:
        parameters: Of the suite.
        config: As `example_config` returns it.
    """
    documents = stream_documents(config.documents, list(config.task.labels))
    return build_prompts(islice(documents, parameters["documents"]), load_panel(config.panel.personas), config)
