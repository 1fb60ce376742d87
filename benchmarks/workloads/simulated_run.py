"""A run of the real engine code on simulated devices, for suites that measure everything but a model."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.config.job import EngineConfig
from xpoll.core.files import read_json
from xpoll.core.records import AnswerSchema, Message, Prompt, Sampling
from xpoll.core.run_folder import RunFolder
from xpoll.engine.run import Workload, answer_prompts


class SimulatedRun(NamedTuple):
    """The outcome of a run.

    Attributes:
        folder: Its run folder.
        answers: Number of answers.
        session: Its session in engine.json; `wall_s` starts when the first device is ready.
    """

    folder: RunFolder
    answers: int
    session: dict[str, Any]

    @property
    def answers_per_s(self) -> float:
        """Rate from the first ready device to the last durable answer."""
        return round(self.answers / float(self.session["wall_s"]), 1)


def run_simulated(
    path: Path,
    documents: int,
    *,
    max_in_flight: int,
    simulated: dict[str, Any],
    devices: int = 1,
    prompts: Iterable[Prompt] | None = None,
    **hooks: Any,
) -> SimulatedRun:
    """Answers one prompt per document on simulated devices.

    Args:
        path: Empty folder for the run.
        documents: Number of documents.
        max_in_flight: `engine.max_in_flight`.
        simulated: [engine.simulated].
        devices: Number of devices.
        prompts: One per document; those of `label_prompts` without it.
        hooks: Further arguments of `answer_prompts`.
    """
    config = EngineConfig(
        backend="simulated",
        device="cpu",
        replicas=devices,
        max_in_flight=max_in_flight,
        simulated=simulated,  # type: ignore[call-arg]
    )
    folder = RunFolder(path)
    job = Workload(label_prompts(documents) if prompts is None else prompts, documents, 1)
    answers = answer_prompts(job, config=config, folder=folder, **hooks)
    return SimulatedRun(folder, answers, read_json(folder.engine)["sessions"][-1])


def label_prompts(documents: int) -> Iterator[Prompt]:
    """One prompt per document, of realistic size: a persona that all share, and a sentence; made on the fly."""
    sampling, schema = Sampling(0.8, 1.0, 16), AnswerSchema(("negative", "neutral", "positive"))
    system: Message = {"role": "system", "content": "You are a careful reader of business news. " * 5}
    for i in range(documents):
        question: Message = {"role": "user", "content": f"Text: sentence {i} of those that are asked about here"}
        yield Prompt(f"doc-{i}", "persona", 0, (system, question), sampling, schema)
