"""docs/reference/metrics.md: the keys of metrics.json, from the model that writes them."""

import inspect
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from xpoll.core.results import Part
from xpoll.report.metrics import Metrics

HEAD = """# metrics.json

The summary of a run, written by `xpoll report` into the run folder; `run.metrics` in Python. A figure that was not
measured is null, never left out and never made up. `schema_version` changes when a key is renamed, removed or means
something else.

This page is made from the code: `python -m xpoll.scripts.dev.pages`.
"""
WORDS = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "any value", type(None): "null"}


def page() -> str:
    """The whole page: the file's keys, then each of its parts."""
    return "\n".join([HEAD, *(_section(part) for part in _parts(Metrics))])


def _parts(first: type[Part]) -> list[type[Part]]:
    """`first` and all parts below it, each once, in the order in which they are named."""
    found = [first]
    for part in found:  # grows while it is gone through
        for field in part.model_fields.values():
            found += [each for each in dict.fromkeys(_inside(field.annotation)) if each not in found]
    return found


def _inside(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, Part):
        yield annotation
    for argument in get_args(annotation):
        yield from _inside(argument)


def _section(part: type[Part]) -> str:
    title = "The file" if part is Metrics else part.__name__
    about = " ".join((inspect.getdoc(part) or "").split())
    rows = [_cells(name, field) for name, field in part.model_fields.items()]
    columns = 3 if any(row[2] for row in rows) else 2
    head = [("key", "type", "meaning"), ("---", "---", "---")]
    table = [f"| {' | '.join(row[:columns])} |" for row in [*head, *rows]]
    return "\n".join([f"## {title}", "", about, "", *table, ""])


def _cells(name: str, field: FieldInfo) -> tuple[str, str, str]:
    return f"`{name}`", _words(field.annotation), " ".join((field.description or "").split())


def _words(annotation: Any) -> str:
    """A type in JSON's words; a part by its name, linked."""
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None if annotation in WORDS:
            return WORDS[annotation]
        case None if isinstance(annotation, type) and issubclass(annotation, Part):
            return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
        case origin if origin is Literal:
            return " or ".join(f'`"{value}"`' for value in arguments)
        case origin if origin in (Union, types.UnionType):
            return " or ".join(map(_words, arguments))
        case origin if origin in (tuple, list):
            return f"array of {_words(arguments[0])}"
        case origin if origin is dict:
            return f"object of {_words(arguments[1])}"
    raise TypeError(f"no words for {annotation!r}: add them to {__name__}")
