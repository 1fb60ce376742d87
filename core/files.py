"""Atomic writes: every output is written to a temporary file next to its path, fsynced and renamed.

A reader therefore never sees half a file, and a file that exists is complete. The price is that a
writer needs room for the old and the new file at once.
"""

import json
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xpoll.core.errors import RunFolderError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; renames it to `path` on success, removes it on failure.

    Raises:
        RunFolderError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # on a disk that has become read-only it stays
            temporary.unlink(missing_ok=True)


def cannot_write(path: Path | str, error: OSError) -> RunFolderError:
    """The error for an output that cannot be written, to raise."""
    reason = error.strerror or str(error)
    return RunFolderError(f"cannot write {path}: {reason}", mend="free space, or choose another job.run_folder")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the block, what the system refuses is said as `cannot_write(path, ...)`.

    Raises:
        RunFolderError: something cannot be written, moved or removed.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` durable.

    Raises:
        OSError: the folder cannot be synced.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes `path` atomically, as UTF-8.

    Raises:
        RunFolderError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` atomically, as indented JSON.

    Raises:
        RunFolderError: it cannot be written.
        ValueError: it contains NaN or infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


_AGAIN = "restore it from a copy, or delete it and run the step again that wrote it"


class NoJSONError(RunFolderError, ValueError):
    """A file of a run is no JSON; also a ValueError, for those who can do without what it holds."""


def read_json(path: Path) -> Any:
    """The value in a JSON file of a run.

    Raises:
        OSError: the file cannot be read.
        NoJSONError: it is not JSON.
    """
    try:
        return json_value(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NoJSONError(f"{path} is not JSON: {error}", mend=_AGAIN) from error


def read_object(path: Path, *names: str) -> dict[str, Any]:
    """The object in a JSON file of a run.

    Args:
        path: The file.
        names: What it has at least.

    Raises:
        OSError: the file cannot be read.
        NoJSONError: it is not JSON, or not such an object.
    """
    held = read_json(path)
    if not isinstance(held, dict) or any(name not in held for name in names):
        raise NoJSONError(f"{path} does not hold what a run writes there", mend=_AGAIN)
    return held


def json_value(text: str | bytes) -> Any:
    """The value that a JSON text is.

    Raises:
        ValueError: it is none, or nested deeper than Python follows.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def toml_tables(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        TOMLDecodeError: it is no TOML, or nested deeper than Python follows.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("it is nested too deep") from None


def write_table(path: Path, table: pa.Table) -> None:
    """Writes `table` atomically, as Parquet with a checksum of each page.

    Raises:
        RunFolderError: it cannot be written.
    """
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
