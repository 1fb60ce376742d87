"""The job of a peer and its answers, as files: all that a peer's script knows of the benchmark.

    FOLDER/job.json        model, endpoint, sampling, constraint, engine arguments, options of the arm
    FOLDER/prompts.jsonl   one row a line: id, text, messages, label_messages (those that ask for a bare label)
    FOLDER/answers.jsonl   one answer a line: id, sample, text; written as soon as the peer gives it

Runs in the peer's own environment: the standard library alone, Python 3.10 or newer.
"""

import json
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PeerJob:
    """What is asked of a peer.

    Attributes:
        folder: Of the job's files; the peer may keep files of its own below it.
        model: Folder of the model; for an endpoint the model's name there.
        endpoint: Address of an OpenAI-compatible API up to its version; empty for a peer that computes itself.
        samples: Answers per row.
        temperature: Of the sampling.
        top_p: Of the sampling.
        max_tokens: Longest answer in tokens.
        schema: JSON schema of an answer; None where it is one of `choices`.
        choices: All labels.
        question: What is asked about each text.
        in_flight: Most requests at a time.
        engine: vLLM's engine arguments, as xpoll sets them on this machine.
        environment: Variables that pin an engine as xpoll pins it.
        options: Of the arm, as peer.toml has them.
        rows: One dict per row, as in prompts.jsonl.
    """

    folder: Path
    model: str
    endpoint: str
    samples: int
    temperature: float
    top_p: float
    max_tokens: int
    schema: dict[str, Any] | None
    choices: list[str]
    question: str
    in_flight: int
    engine: dict[str, Any]
    environment: dict[str, str]
    options: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def constraint(self) -> dict[str, Any]:
        """Keywords of vLLM's structured outputs: a JSON schema, or one of the choices."""
        return {"json": self.schema} if self.schema is not None else {"choice": self.choices}

    @property
    def response_format(self) -> dict[str, Any]:
        """OpenAI's form of the constraint; one of several choices is a JSON string of an enumeration."""
        schema = self.schema or {"type": "string", "enum": self.choices}
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    def request(self, row: dict[str, Any], *, samples: int | None = None) -> dict[str, Any]:
        """The body of a chat request for a row.

        Args:
            row: One of `rows`.
            samples: Answers that it asks for; all of the row's unless given.
        """
        return {
            "model": self.model,
            "messages": row["messages"],
            "n": self.samples if samples is None else samples,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "structured_outputs": self.constraint,
        }


def read_job() -> PeerJob:
    """The job in the folder that the command line names."""
    folder = Path(sys.argv[1]).resolve()
    read = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    lines = (folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return PeerJob(folder, rows=[json.loads(line) for line in lines], **read)


def api_key() -> str:
    """The endpoint's key; a word where it needs none, because clients refuse to have no key."""
    return os.environ.get("OPENAI_API_KEY") or "none"


class AnswerLog:
    """Appends answers to answers.jsonl, each on its own line and handed to the system at once.

    Args:
        job: The job.
    """

    def __init__(self, job: PeerJob) -> None:
        self._file = (job.folder / "answers.jsonl").open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, row_id: str, sample: int, text: str) -> None:
        """One answer; may be called from any thread."""
        line = json.dumps({"id": row_id, "sample": sample, "text": text}, ensure_ascii=False)
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
