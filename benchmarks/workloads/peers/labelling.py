"""The labelling job that every peer is given: three shapes of it, as prompts, and as a job of xpoll.

Prompts are made by xpoll, and xpoll makes the same ones again from its job file.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.benchmarks.runner.records import Parameters
from xpoll.benchmarks.workloads.example_job import EXAMPLE
from xpoll.benchmarks.workloads.labelled_sets import LabelledSet, labelled_set
from xpoll.benchmarks.workloads.peers.arms import Arm
from xpoll.core.config.file import checked_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError
from xpoll.core.records import Document, Prompt
from xpoll.personas.persona import load_panel
from xpoll.personas.prompts import build_prompts


class _Shape(NamedTuple):
    set: str
    answer: str
    samples: int
    max_tokens: int


SHAPES = {
    "reasons": _Shape("phrasebank", "chain_of_thought", 3, 128),
    "label3": _Shape("phrasebank", "label", 1, 32),
    "label77": _Shape("banking77", "label", 1, 32),
}
"""Shapes of the job by name: three answers with a reason, one of 3 labels, one of 77 labels."""
REASON_MAX_CHARS = 100
POISON_WORDS = 20_000
"""Words of a text that no model's context here takes."""


class LabellingJob(NamedTuple):
    """A job, before it is written for an arm.

    Attributes:
        shape: Name in SHAPES.
        rows: The texts with their labels by people.
        config: xpoll's, without paths and engine.
        prompts: One per text.
        label_prompts: One per text that asks for a bare label, whatever the shape.
    """

    shape: str
    rows: LabelledSet
    config: dict[str, Any]
    prompts: list[Prompt]
    label_prompts: list[Prompt]

    @property
    def samples(self) -> int:
        """Answers per text."""
        return SHAPES[self.shape].samples

    @property
    def row_ids(self) -> list[str]:
        """Ids of the texts."""
        return [prompt.document_id for prompt in self.prompts]


class PeerEngine(NamedTuple):
    """What answers: the model, and how an engine is to be set up.

    Attributes:
        model: Name of the model for xpoll.
        folder: Folder of the model, or its name at the endpoint.
        endpoint: Address up to the version; empty for engines of one's own.
        arguments: vLLM's engine arguments.
        environment: Variables that pin an engine.
        in_flight: Most requests at a time.
    """

    model: str
    folder: str
    endpoint: str
    arguments: dict[str, Any]
    environment: dict[str, str]
    in_flight: int


def labelling_job(parameters: Parameters, shape: str, *, sentences: int, poison: bool = False) -> LabellingJob:
    """A job of a shape.

    Args:
        parameters: Of the suite: data, seed, model.
        shape: Name in SHAPES.
        sentences: How many texts.
        poison: Whether the text in the middle is replaced by one that no engine can answer.

    Raises:
        ConfigError: the data set of the shape is not there.
    """
    rows = _rows(parameters, shape, sentences)
    if poison:
        texts = list(rows.texts)
        texts[len(texts) // 2] = "word " * POISON_WORDS
        rows = rows._replace(texts=texts)
    wanted = SHAPES[shape]
    config: dict[str, Any] = {
        "task": {"question": rows.question, "labels": list(rows.labels)},
        "panel": {
            "personas": ["annotator"],
            "answer": wanted.answer,
            "samples": wanted.samples,
            "temperature": 0.8,
            "top_p": 1.0,
            "max_tokens": wanted.max_tokens,
            "reason_max_chars": REASON_MAX_CHARS,
        },
    }
    of_labels = {**config, "panel": {**config["panel"], "answer": "label"}}
    return LabellingJob(shape, rows, config, _prompts(config, rows), _prompts(of_labels, rows))


def _prompts(config: Mapping[str, Any], rows: LabelledSet) -> list[Prompt]:
    """The first prompt about each text."""
    checked = checked_config(Config, {**config, "documents": {"path": "texts.csv"}}, mend="")
    documents = [Document(f"{number:04d}", text, "train") for number, text in enumerate(rows.texts)]
    prompts = build_prompts(documents, load_panel(checked.panel.personas), checked)
    return [prompt for prompt in prompts if prompt.sample == 0]


def _rows(parameters: Parameters, shape: str, sentences: int) -> LabelledSet:
    name = SHAPES[shape].set
    if parameters["data"]:
        return labelled_set(parameters["data"], name, "test", rows=sentences, seed=parameters["seed"])
    if name != "phrasebank":
        raise ConfigError(
            f"parameters.shapes: {shape!r} needs the data set {name}", mend="--set parameters.data='\"FOLDER\"'"
        )
    return _example_rows(sentences)


def _example_rows(sentences: int) -> LabelledSet:
    """The gold rows of examples/investor_sentiment."""
    import numpy as np

    with (EXAMPLE / "gold.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))[:sentences]
    labels = ["negative", "neutral", "positive"]
    question = "What does each text mean for an investor in the company?"
    truth = np.array([labels.index(row["label"]) for row in found])
    return LabelledSet([row["text"] for row in found], truth, labels, question)


def write_job(job: LabellingJob, arm: Arm, engine: PeerEngine, folder: Path) -> None:
    """Writes the files of a job for an arm: those of benchmarks/peers/common/peer_job.py, and a job of xpoll.

    Args:
        job: The job.
        arm: Who does it.
        engine: What answers.
        folder: Where; made here.
    """
    folder.mkdir(parents=True)
    panel = job.config["panel"]
    values = {
        "model": engine.folder,
        "endpoint": engine.endpoint,
        "samples": job.samples,
        "temperature": panel["temperature"],
        "top_p": panel["top_p"],
        "max_tokens": panel["max_tokens"],
        "schema": constraint_of(job).get("json"),
        "choices": list(job.rows.labels),
        "question": job.rows.question,
        "in_flight": engine.in_flight,
        "engine": engine.arguments,
        "environment": engine.environment,
        "options": arm.options,
    }
    (folder / "job.json").write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")
    with (folder / "prompts.jsonl").open("w", encoding="utf-8") as file:
        for prompt, label_prompt, text in zip(job.prompts, job.label_prompts, job.rows.texts, strict=True):
            row = {"id": prompt.document_id, "text": text, "messages": list(prompt.messages)}
            row["label_messages"] = list(label_prompt.messages)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    (folder / "answers.jsonl").touch()
    _write_texts(job, folder / "texts.csv")
    (folder / "job.toml").write_text(as_toml(_job_of_xpoll(job, engine, folder)), encoding="utf-8")


def constraint_of(job: LabellingJob) -> dict[str, Any]:
    """What holds an answer of a job to its form, in the words of vLLM's structured outputs."""
    schema = job.prompts[0].answer.json_schema
    return {"choice": list(job.rows.labels)} if schema is None else {"json": json.loads(schema)}


def _write_texts(job: LabellingJob, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(zip(job.row_ids, job.rows.texts, strict=True))


def _job_of_xpoll(job: LabellingJob, engine: PeerEngine, folder: Path) -> dict[str, dict[str, Any]]:
    asked: dict[str, Any] = {"backend": "vllm", "model": engine.model, "device": "cpu", "vllm": engine.arguments}
    if engine.endpoint:
        options = {"base_url": engine.endpoint, "max_concurrency": engine.in_flight}
        asked = {"backend": "openai", "model": engine.folder, "openai": options}
    # Peers give a label without its probabilities, and so does xpoll here.
    panel = {**job.config["panel"], "logprobs": False}
    return {
        "job": {"name": "peers", "run_folder": str(folder / "run")},
        "documents": {"path": str(folder / "texts.csv"), "id_column": "id"},
        "task": job.config["task"],
        "panel": panel,
        "engine": asked,
    }


def as_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of plain values, lists and further tables as TOML."""
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {_toml_value(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
