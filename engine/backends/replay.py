"""Recorded answers instead of an engine: free, and the same in every run.

Options, in `[engine.replay]`:
    path            CSV, JSONL or Parquet file, or the completions folder of an earlier run; or a list of these
    id_column       column of the document id (default document_id)
    sample_columns  columns that hold the answers of sample 0, 1, 2 ...; every persona gets the same

Without sample_columns a row is one answer, with the columns persona_id, sample and text.

Answers are held in memory, as an index by document, persona and sample.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from xpoll.core.config.file import checked_section
from xpoll.core.config.job import Section
from xpoll.core.errors import InputError
from xpoll.core.records import Completion, Prompt, from_table
from xpoll.core.sameness import word_of
from xpoll.core.tables.readers import Row, stream_rows
from xpoll.engine.backends.backend import BackendSettings, Load
from xpoll.engine.journal.answers import batches_of, refuse_damage, take_inventory

ANY_PERSONA = ""
KEPT = (
    "text",
    "finish_reason",
    "choice_logprobs",
    "unread_choices",
    "prompt_tokens",
    "cached_prompt_tokens",
    "output_tokens",
)
COUNTS = KEPT[-3:]


class ReplayOptions(Section):
    """`[engine.replay]`."""

    path: str | list[str]
    """File of recorded answers, or the completions folder of an earlier run; or several of them."""
    id_column: str = "document_id"
    """Column that holds the document id."""
    sample_columns: list[str] = []
    """Columns that hold the answers of sample 0, 1, 2 and so on; without them a row is one answer."""


class ReplayBackend:
    """Looks answers up. A question that was not recorded ends as an error row."""

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._answers: dict[tuple[str, str, int], dict[str, Any]] = {}

    async def start(self) -> None:
        """Reads the recorded answers.

        Raises:
            ConfigError: an option is wrong.
            InputError: a file is missing, or lacks a column.
            RunFolderError: a file of an earlier run is damaged.
        """
        self._options = checked_section(ReplayOptions, self._settings.options, "engine.replay")
        paths = self._options.path
        for path in _files([paths] if isinstance(paths, str) else paths):
            if path.endswith(".arrows"):
                self._read_journal(Path(path))
            elif self._options.sample_columns:
                self._read_wide(path)
            else:
                self._read_long(path)

    def _read_wide(self, path: str) -> None:
        columns = self._options.sample_columns
        for row in self._rows(path, tuple(columns)):
            for sample, column in enumerate(columns):
                self._keep(row, ANY_PERSONA, sample, {"text": row.values.get(column)})

    def _read_long(self, path: str) -> None:
        for row in self._rows(path, ("persona_id", "sample", "text")):
            answer = {name: row.values[name] for name in KEPT if name in row.values}
            answer = {name: _number(value) if name in COUNTS else value for name, value in answer.items()}
            if isinstance(answer.get("choice_logprobs"), list):
                answer["choice_logprobs"] = tuple(answer["choice_logprobs"])
            sample = str(row.values.get("sample"))
            if sample.isdecimal():
                self._keep(row, str(row.values.get("persona_id")), int(sample), answer)

    def _read_journal(self, path: Path) -> None:
        """The answers of an earlier run that are not sealed into a part."""
        for batch in batches_of(path):
            for completion in from_table(pa.Table.from_batches([batch]), Completion):
                if completion.text is not None:
                    self._answers[completion.key] = {name: getattr(completion, name) for name in KEPT}

    def _rows(self, path: str, needs: tuple[str, ...]) -> Iterator[Row]:
        rows = stream_rows(path, key="engine.replay.path", needs=(self._options.id_column, *needs))
        return (row for row in rows if row.problem is None)

    def _keep(self, row: Row, persona_id: str, sample: int, answer: dict[str, Any]) -> None:
        text, document_id = word_of(answer.get("text")), row.values.get(self._options.id_column)
        if text is not None and document_id is not None:
            kept = {"finish_reason": "stop", **answer, "text": text}
            self._answers[str(document_id), persona_id, sample] = kept

    async def answer(self, prompt: Prompt) -> Completion:
        """The recorded answer to this prompt's key; one that was not recorded is an error row."""
        return self._recorded(prompt)

    def answer_batch(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """The recorded answers of prompts."""
        return [self._recorded(prompt) for prompt in prompts]

    def _recorded(self, prompt: Prompt) -> Completion:
        document_id, persona_id, sample = prompt.key
        recorded = self._answers.get((document_id, persona_id, sample))
        if recorded is None:
            recorded = self._answers.get((document_id, ANY_PERSONA, sample))
        if recorded is None:
            recorded = {"error_kind": "not_recorded", "error": "no such answer was recorded"}
        worker, device = self._settings.worker, str(self._settings.device)
        return Completion(*prompt.key, worker=worker, device=device, started_unix_s=time.time(), **recorded)

    def load(self) -> Load | None:
        """None: there is no queue."""
        return None

    def stop(self) -> None:
        """Forgets the answers."""
        self._answers.clear()


def _number(value: Any) -> Any:
    """A count as a file has it: CSV has words, and 0 where there is none."""
    if value is None or value == "":
        return 0
    return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value


def _files(paths: list[str]) -> Iterator[str]:
    """The files of each path; of an earlier run's folder all that hold answers, sealed or not."""
    for path in paths:
        if not Path(path).is_dir():
            yield path
            continue
        found = take_inventory(Path(path))
        refuse_damage(Path(path), found)
        parts = sorted(map(str, Path(path).glob("part-*.parquet")))
        files = [*parts, *(str(file.path) for file in found.files if not file.is_part)]
        if not files:
            raise InputError(f"engine.replay.path: {path} holds no part-*.parquet", mend="name a completions folder")
        yield from files
