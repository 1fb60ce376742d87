"""docs/reference/configuration.md: every key of a job, from the docstrings of core.config."""

import json
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from xpoll.core.config.job import Config, Section
from xpoll.engine.backends.registry import BACKENDS

HEAD = """# Configuration

One TOML file per job. Defaults are below; then comes the file; then `--set section.key=value`, from left to right.
Unknown keys are refused. Relative paths are relative to the current folder. Secrets come from the environment only
(`HF_TOKEN`). This page is made from the code: `python -m xpoll.scripts.dev.pages`.
"""
TOML_TYPES = {str: "string", int: "integer", float: "float", bool: "boolean", Any: "any value"}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}

VLLM = """### [engine.vllm]

Passed to vLLM's engine arguments verbatim; wins over what xpoll would set. vLLM's own documentation has the keys.
"""


def page() -> str:
    """The whole page, sections in the order of the data."""
    parts = [HEAD]
    for name, field in Config.model_fields.items():
        section = field.annotation
        if get_origin(section) is list:
            parts.append(_table(f"## [[{name}]]", get_args(section)[0]))
            continue
        assert isinstance(section, type) and issubclass(section, Section)
        parts.append(_table(f"## [{name}]", section))
        if name == "engine":
            options = {backend: spec.options() for backend, spec in BACKENDS.items() if spec.options}
            parts += [_table(f"### [engine.{backend}]", section) for backend, section in options.items()]
            parts.append(VLLM)
    return "\n".join(parts)


def _table(title: str, section: type[BaseModel]) -> str:
    return f"{title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n{_rows(section)}\n"


def _rows(section: type[BaseModel]) -> str:
    return "\n".join(_row(key, field) for key, field in section.model_fields.items())


def _row(key: str, field: FieldInfo) -> str:
    cells = (f"`{key}`", type_of(field.annotation, field.metadata), _default(field), _one_line(field.description))
    return f"| {' | '.join(cells)} |"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def type_of(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in TOML's words, with its bounds: "float, at least 0, below 1".

    None is left out, because TOML cannot write it: the key is left out instead, which the default says.

    Args:
        annotation: What a field of a section is annotated with.
        metadata: What pydantic has taken out of the annotation: bounds among other things.

    Raises:
        TypeError: a type that this page has no words for.
    """
    return ", ".join([_unbounded(annotation), *_bounds(metadata)])


def _unbounded(annotation: Any) -> str:
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None if annotation in TOML_TYPES:
            return TOML_TYPES[annotation]
        case None if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return f"tables with {', '.join(f'`{key}`' for key in annotation.model_fields)}"
        case origin if origin is Literal:
            return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
        case origin if origin is Annotated:
            base, *metadata = arguments
            return type_of(base, [each for field in metadata for each in getattr(field, "metadata", [field])])
        case origin if origin in (Union, types.UnionType):
            return " or ".join(type_of(each) for each in arguments if each is not type(None))
        case origin if origin is list:
            return f"array of {type_of(arguments[0])}"
        case origin if origin is dict:
            return "table" if arguments[1] is Any else f"table of {type_of(arguments[1])}"
    raise TypeError(f"no words for {annotation!r}: add them to {__name__}")


def _bounds(metadata: Iterable[Any]) -> list[str]:
    return [
        f"{words} {getattr(each, name):g}" for each in metadata for name, words in BOUNDS.items() if hasattr(each, name)
    ]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return "none" if default is None else f"`{json.dumps(default)}`"
