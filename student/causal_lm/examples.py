"""The rows that a language model is fine-tuned on: prompts with completions, conversations, or plain texts.

A row has `messages` (OpenAI's chat form; the last one, the assistant's, is its completion), or `prompt` and
`completion`, or else the text of `documents.text_column`, all of which is learned. A row that has none of them is kept
with its problem and not trained on. What is held out is decided by a hash of the prompt alone: rows of the same prompt
are on one side, and rows that join later move no other one. Nothing here imports torch.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.config.job import DocumentsConfig
from xpoll.core.errors import InputError, RunFolderError
from xpoll.core.files import write_table
from xpoll.core.records import Message, from_table
from xpoll.core.sameness import folded
from xpoll.core.tables.readers import Row, stream_rows

ROLES = ("system", "user", "assistant")
SYNTHESIZED = frozenset({"problem", "persona", "template", "finish_reason"})
"""Columns of `xpoll synthesize`, whose `problem` says why a row was not kept."""


class TrainingExample(NamedTuple):
    """One row.

    Attributes:
        example_id: Unique in its file.
        split: Whether it is trained on or measured on.
        prompt: Messages before the completion, as JSON; None of a plain text.
        completion: What is learned.
        problem: Why it is neither trained on nor measured on; None where it is.
    """

    example_id: str
    split: Literal["train", "held_out"]
    prompt: str | None
    completion: str
    problem: str | None = None

    @property
    def messages(self) -> list[Message]:
        """The messages before the completion; none of a plain text."""
        found: list[Message] = json.loads(self.prompt) if self.prompt else []
        return found


EXAMPLE_SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("prompt", pa.string()),
        pa.field("completion", pa.string(), nullable=False),
        pa.field("problem", pa.string()),
    ]
)


def read_examples(config: DocumentsConfig, *, held_out: float) -> list[TrainingExample]:
    """The rows of `documents.path`, in order.

    Args:
        config: The documents section.
        held_out: Share of the prompts that are held out, 0 to 1.

    Raises:
        InputError: the file is missing or cannot be read, two rows have one id, or no row can be trained on.
    """
    named = (config.id_column,) if config.id_column else ()
    rows = islice(stream_rows(config.path, key="documents.path", needs=named), config.limit)
    examples = [_example(row, config, held_out) for row in rows]
    seen: set[str] = set()
    for example in examples:
        if example.example_id in seen:
            raise InputError(
                f"documents: two rows have the id {example.example_id!r}",
                mend="give each row its own id, or leave documents.id_column out",
            )
        seen.add(example.example_id)
    if not of_split(examples, "train"):
        first = next((f"; the first: {each.problem}" for each in examples if each.problem), "")
        raise InputError(
            f"documents.path: none of the {len(examples)} rows of {config.path} can be trained on{first}",
            mend="give rows the columns prompt and completion, or messages, or name documents.text_column",
        )
    return examples


def of_split(examples: Sequence[TrainingExample], split: str) -> list[TrainingExample]:
    """The rows of a split that have no problem, in order."""
    return [example for example in examples if example.split == split and example.problem is None]


def notes(examples: Sequence[TrainingExample]) -> Iterator[str]:
    """A line about rows that are left out, where there are any."""
    bad = [example for example in examples if example.problem is not None]
    if bad:
        first = f"row {bad[0].example_id!r}: {bad[0].problem}"
        yield f"{len(bad)} of {len(examples)} rows are left out; the first: {first}"


def write_examples(path: Path, examples: Sequence[TrainingExample]) -> None:
    """Writes the rows as Parquet, whole or not at all."""
    write_table(path, pa.Table.from_pylist([example._asdict() for example in examples], schema=EXAMPLE_SCHEMA))


def written_examples(path: Path) -> list[TrainingExample]:
    """The rows that `write_examples` wrote, in order.

    Raises:
        RunFolderError: the file is missing or cannot be read.
    """
    try:
        return from_table(pq.read_table(path), TrainingExample)
    except (OSError, pa.ArrowException, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise RunFolderError(f"{path} cannot be read ({reason})", mend=f"xpoll train {path.parent}") from error


def _example(row: Row, config: DocumentsConfig, share: float) -> TrainingExample:
    given = row.values.get(config.id_column) if config.id_column else None
    example_id = str(row.number) if given in (None, "") else str(given)
    prompt: list[Message] | None = None
    completion, problem = "", row.problem
    if problem is None and row.values.keys() >= SYNTHESIZED and row.values["problem"]:
        problem = f"not kept when it was written: {row.values['problem']}"
    if problem is None:
        try:
            prompt, completion = _parts(row.values, config.text_column)
        except ValueError as error:
            problem = str(error)
    key = completion if prompt is None else "\n".join(f"{each['role']}: {each['content']}" for each in prompt)
    split: Literal["train", "held_out"] = "held_out" if share_of(key) < share else "train"
    written = None if prompt is None else json.dumps(prompt, ensure_ascii=False)
    return TrainingExample(example_id, split, written, completion, problem)


def share_of(text: str) -> float:
    """A number from 0 to 1 that a text has on every machine; texts that differ in case or spaces have the same."""
    digest = hashlib.blake2b(folded(text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _parts(values: dict[str, Any], text_column: str) -> tuple[list[Message] | None, str]:
    """Prompt and completion of a row; ValueError says what is wrong with it."""
    if values.get("messages") not in (None, ""):
        messages = _messages(values["messages"], "messages")
        if messages[-1]["role"] != "assistant":
            raise ValueError("the last of its messages is not the assistant's")
        return messages[:-1] or None, _text(messages[-1]["content"], "the assistant's last message")
    if values.get("completion") not in (None, "", []):
        if values.get("prompt") in (None, "", []):
            raise ValueError("it has a completion and no prompt")
        prompt = _prompt(values["prompt"])
        completion = values["completion"]
        if not isinstance(completion, str):
            completion = _messages(completion, "completion")[-1]["content"]
        return prompt, _text(completion, "completion")
    if isinstance(values.get(text_column), str) and values[text_column].strip():
        return None, str(values[text_column])
    if values.get("prompt") not in (None, ""):
        raise ValueError("it has a prompt and no completion")
    raise ValueError(f"it has no messages, no prompt and completion, and no {text_column}")


def _prompt(value: Any) -> list[Message]:
    if isinstance(value, str):
        return [{"role": "user", "content": _text(value, "prompt")}]
    return _messages(value, "prompt")


def _messages(value: Any, name: str) -> list[Message]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name} are no JSON: {error}") from error
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} are no list of messages")
    made: list[Message] = []
    for each in value:
        if not isinstance(each, dict) or each.get("role") not in ROLES or not isinstance(each.get("content"), str):
            raise ValueError(f"{name}: each message needs a role of {', '.join(ROLES)} and a text as its content")
        made.append({"role": each["role"], "content": each["content"]})
    return made


def _text(text: str, name: str) -> str:
    if not text.strip():
        raise ValueError(f"{name} holds no text")
    return text
