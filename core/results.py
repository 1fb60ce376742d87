"""Typed results: what a step leaves for later steps as JSON, checked when it is read.

A result holds numbers, names and words of a closed set; sentences are made from it where it is shown.
"""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from xpoll.core.errors import RunFolderError
from xpoll.core.files import json_value


class Part(BaseModel):
    """A part of a result: frozen, and without keys that it does not name."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class Result(Part):
    """A result that is a file of its own. Each one sets the version that it writes and reads as the default."""

    schema_version: int

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types, every key."""
        return self.model_dump(mode="json")


ResultT = TypeVar("ResultT", bound=Result)


def read_result(path: Path, result: type[ResultT], *, step: str) -> ResultT:
    """The result in `path`.

    Args:
        path: A JSON file.
        result: What it holds.
        step: The step that writes it, for errors.

    Raises:
        RunFolderError: the file is missing, of another version, or does not hold such a result.
    """
    again = f"run the step again: xpoll {step} {path.parent}"
    if not path.exists():
        raise RunFolderError(f"{path} is not there yet", mend=f"run the step before it: xpoll {step} {path.parent}")
    try:
        held = json_value(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(f"{path} is not JSON: {error}", mend=again) from error
    version = result.model_fields["schema_version"].default
    found = held.get("schema_version") if isinstance(held, dict) else None
    if found != version:
        theirs = f"has schema_version {found}" if found is not None else "has no schema_version"
        raise RunFolderError(f"{path} {theirs}, this xpoll reads {version}", mend=again)
    try:
        return result.model_validate(held)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise RunFolderError(f"{path} cannot be read: {key}: {first['msg']}", mend=again) from error
