"""The door of `engine/answer.py` for a whole batch: columns that fit are passed on as they are, all else row by row."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import numpy as np
import pyarrow as pa

from xpoll.core.errors import UserError
from xpoll.core.records import COMPLETION_SCHEMA, Completion, Key, Prompt, from_table, to_table
from xpoll.core.secrets import known_secrets
from xpoll.engine.answer import FAILED, LEAST_LOGPROB, LONGEST_S, fitted, problem_row, readable
from xpoll.engine.backends.backend import AnswersAtOnce, EngineDeadError

_COUNTS = ("prompt_tokens", "cached_prompt_tokens", "output_tokens")
_TIMES = ("started_unix_s", "latency_s")


def answers_at_once(backend: AnswersAtOnce, prompts: Sequence[Prompt]) -> pa.RecordBatch | None:
    """The answers of prompts as a batch of COMPLETION_SCHEMA, each as `answer_of` would give it.

    Args:
        backend: What is asked.
        prompts: At least one.

    Returns:
        None where they take time, or where the backend says something else than one answer for each prompt: they are
        asked by themselves then.

    Raises:
        EngineDeadError: the engine is gone.
        UserError: every other prompt would end alike.
    """
    asked, batches = prompts, []
    if faulty := [prompt for prompt in prompts if prompt.problem is not None]:
        asked = [prompt for prompt in prompts if prompt.problem is None]
        batches = _batches([problem_row(prompt) for prompt in faulty])
    try:
        said = backend.answer_batch(asked) if asked else []
        if said is None or len(said) != len(asked):
            return None
        batches += _fitting(said, asked)
    except (EngineDeadError, UserError):
        raise
    except Exception:  # a bug that one prompt triggers is found when each is asked by itself
        return None
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _fitting(said: pa.RecordBatch | Sequence[Completion], prompts: Sequence[Prompt]) -> list[pa.RecordBatch]:
    answers: Sequence[Completion] = said
    if isinstance(said, pa.RecordBatch):
        whole = _whole(said, prompts)
        if _fits(whole, prompts, frozenset(said.schema.names)):
            return [whole]
        answers = from_table(pa.Table.from_batches([whole]), Completion)
    return _batches([fitted(answer, prompt) for answer, prompt in zip(answers, prompts, strict=True)])


def _batches(rows: list[Completion]) -> list[pa.RecordBatch]:
    return to_table(rows, COMPLETION_SCHEMA).combine_chunks().to_batches() if rows else []


def _whole(said: pa.RecordBatch, prompts: Sequence[Prompt]) -> pa.RecordBatch:
    """All columns of the schema: the keys of the prompts, what was said, and else what a completion has by itself."""
    number = said.num_rows
    columns = dict(zip(Key._fields, map(list, islice(zip(*prompts, strict=True), len(Key._fields))), strict=True))
    arrays = []
    for field in COMPLETION_SCHEMA:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        elif field.name in said.schema.names:
            arrays.append(said.column(field.name).cast(field.type))
        else:
            arrays.append(_defaults(field.name, number))
    return pa.record_batch(arrays, schema=COMPLETION_SCHEMA)


@lru_cache(maxsize=64)
def _defaults(name: str, number: int) -> pa.Array:
    kind, default = COMPLETION_SCHEMA.field(name).type, Completion._field_defaults[name]
    return pa.nulls(number, kind) if default is None else pa.repeat(pa.scalar(default, kind), number)


def _fits(batch: pa.RecordBatch, prompts: Sequence[Prompt], said: frozenset[str]) -> bool:
    """Whether every row is an answer that fits as it is, as `fitted` would find.

    Args:
        batch: All columns.
        prompts: What was asked.
        said: Names of the columns that the backend gave; the others are as they should be.
    """
    import pyarrow.compute as pc  # takes as long to import as the rest of pyarrow

    try:
        batch.validate(full=True)  # also that all text is UTF-8
    except pa.ArrowException:
        return False
    number = batch.num_rows
    needed = ("text", *_COUNTS, "worker", "device", *_TIMES)
    if any(batch.column(name).null_count for name in needed):
        return False
    if any(batch.column(name).null_count < number for name in ("error_kind", "error")):
        return False
    finish, text, unread = (batch.column(name) for name in ("finish_reason", "text", "unread_choices"))
    if finish.null_count < number and pc.any(pc.is_in(finish, value_set=pa.array(list(FAILED)))).as_py():
        return False
    # A secret that is no UTF-8 is in no text of Arrow's.
    secrets = [secret for secret in known_secrets() if readable(secret) is secret]
    if any(pc.any(pc.match_substring(text, secret)).as_py() for secret in secrets):
        return False
    for name in said.intersection(_COUNTS):
        if number and batch.column(name).to_numpy().min() < 0:
            return False
    for name in said.intersection(_TIMES):
        if not (np.abs(batch.column(name).to_numpy().astype(np.float64)) < LONGEST_S).all():
            return False
    if unread.null_count < number and pc.min(unread).as_py() < 0:
        return False
    return _logprobs_fit(batch.column("choice_logprobs"), prompts)


def _logprobs_fit(column: pa.ListArray, prompts: Sequence[Prompt]) -> bool:
    if column.null_count == len(column):
        return True
    choices = np.fromiter((len(prompt.answer.choices) for prompt in prompts), int, len(prompts))
    if column.null_count or choices.min() < max(1, choices.max()):
        return False  # told apart row by row
    if not (np.diff(column.offsets.to_numpy()) == choices).all():
        return False
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(prompts), -1)
    return bool((values <= 1.0).all() and (values.max(axis=1) >= LEAST_LOGPROB).all())
