"""Templates of texts: a file with a header in TOML, between two lines of `+++`, and a body in Jinja.

What stands above a line `---` of the body is the system message, which all requests of the template begin with, so that
the engine computes it once; the persona and what differs stand below it.
"""

import json
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from jinja2 import TemplateError
from jinja2.runtime import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from pydantic import Field, model_validator

from xpoll.core.config.file import checked_section
from xpoll.core.config.task import Section
from xpoll.core.errors import InputError
from xpoll.core.files import toml_tables
from xpoll.core.records import AnswerSchema, Message, Sampling

LIBRARY = Path(__file__).parent / "templates"
SUFFIX = ".md"
_FENCE = "+++"
_SPLIT = "\n---\n"
_KEY = "synthesis.templates"
_NATIVE = ("temperature", "top_p", "max_tokens")
_FAULTS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)
"""What a body that is no Jinja, or that computes what cannot be, raises."""
_BODY = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)


class Header(Section):
    """What stands above a template's body."""

    about: str
    """What the template's texts are, in a line."""
    field: str = ""
    """Their domain, e.g. "mathematics"."""
    source: Literal["persona", "text"] = "persona"
    """What a request begins with: a persona that writes, or a text of `synthesis.texts`."""
    labelled: bool = False
    """Whether each text is written for a label of the task."""
    replies: bool = False
    """Whether the texts are prompts: those that are kept are put to the model plainly, and rows get its replies."""
    axes: dict[str, dict[str, str]] = {}
    """What texts are varied by, in equal shares: name of an axis to its values and what each means, e.g.
    {difficulty = {easy = "...", hard = "..."}}. The body has the meaning under the axis's name, a row the value."""
    shortest_chars: Annotated[int, Field(ge=1)] = 20
    """Texts of fewer characters are taken out by the gate `length`."""
    longest_chars: Annotated[int, Field(ge=1)] = 4000
    """Texts of more characters are taken out by the gate `length`."""
    sampling: dict[str, Any] = {}
    """temperature, top_p, max_tokens, and further parameters under vLLM's names."""
    reply_sampling: dict[str, Any] = {}
    """What differs of these for replies."""
    json_schema: dict[str, Any] | None = None
    """JSON schema that an answer is held to where the engine can; without it an answer is the text itself."""
    text_property: str | None = None
    """Property of the answer that holds the text; without it the text is the whole JSON value."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "Header":
        if self.text_property is not None and self.text_property not in (self.json_schema or {}).get("properties", {}):
            raise ValueError(f"text_property {self.text_property!r} is no property of json_schema")
        if empty := [name for name, values in self.axes.items() if not values]:
            raise ValueError(f"axes.{empty[0]} has no values")
        if self.shortest_chars > self.longest_chars:
            raise ValueError("shortest_chars must be at most longest_chars")
        return self


class Template:
    """One template.

    Attributes:
        name: Name of its file.
        header: What its header says.
        content: The whole file.
    """

    def __init__(self, name: str, header: Header, body: str, content: str) -> None:
        self.name, self.header, self.content = name, header, content
        self._body = body

    @cached_property
    def _parts(self) -> list[Any]:
        system, split, user = self._body.rpartition(_SPLIT)
        return [_BODY.from_string(part) for part in ([system, user] if split else [user])]

    def messages(self, values: dict[str, Any]) -> tuple[Message, ...]:
        """The chat messages of a request.

        Args:
            values: What the body may name; see `synthesis.drawing`.

        Raises:
            InputError: the body names something else.
        """
        try:
            contents = [part.render(**values).strip() for part in self._parts]
        except _FAULTS as error:
            raise InputError(
                f"{_KEY}: {self.name} cannot be filled in: {error}", mend="see docs/howto/synthesis.md"
            ) from error
        roles = ("system", "user") if len(contents) == 2 else ("user",)
        return tuple({"role": role, "content": each} for role, each in zip(roles, contents, strict=True) if each)

    def sampling(self, replaced: dict[str, Any], more: str | None) -> Sampling:
        """How answers are sampled.

        Args:
            replaced: Parameters that win over the header's.
            more: Parameters of every request of the run, as `Sampling.more`.
        """
        values = {"temperature": 1.0, "top_p": 0.95, "max_tokens": 512, **self.header.sampling, **replaced}
        others = {**json.loads(more or "{}"), **{key: each for key, each in values.items() if key not in _NATIVE}}
        return Sampling(
            float(values["temperature"]),
            float(values["top_p"]),
            None if values["max_tokens"] is None else int(values["max_tokens"]),
            json.dumps(others, sort_keys=True) if others else None,
        )

    def reply_sampling(self, replaced: dict[str, Any], more: str | None) -> Sampling:
        """How replies are sampled; arguments as of `sampling`."""
        return self.sampling({**self.header.reply_sampling, **replaced}, more)

    def answer(self) -> AnswerSchema:
        """What an answer is held to."""
        schema = self.header.json_schema
        return AnswerSchema() if schema is None else AnswerSchema(json_schema=json.dumps(schema))


def library_templates() -> list[str]:
    """Names of the templates that come with xpoll, sorted."""
    return sorted(path.stem for path in LIBRARY.glob(f"*{SUFFIX}"))


def load_templates(names: list[str]) -> list[Template]:
    """The templates of a job, in the order of their names.

    Args:
        names: Names of the library, or paths of files.

    Raises:
        InputError: a name is unknown, two files have one name, or a file is malformed.
    """
    templates = [_load(name) for name in names]
    stems = [template.name for template in templates]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise InputError(f"{_KEY}: two templates are called {twice!r}", mend="rename one of the files")
    return templates


def _load(name: str) -> Template:
    path = Path(name)
    if path.suffix not in (SUFFIX, ".jinja"):
        path = LIBRARY / f"{name}{SUFFIX}"
    if not path.is_file():
        known = ", ".join(library_templates())
        raise InputError(f"{_KEY}: there is no template {name!r}", mend=f"name a file ending in .md or one of: {known}")
    try:
        return template_of(path.stem, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{_KEY}: {path} cannot be read: {error}") from error


def template_of(name: str, content: str) -> Template:
    """The template that a file holds.

    Args:
        name: Name of the template.
        content: Of the file.

    Raises:
        InputError: there is no header, its TOML is wrong, or the body is no Jinja.
        ConfigError: a key of the header is unknown, or a value breaks a rule.
    """
    _, fence, rest = content.partition(f"{_FENCE}\n")
    head, closing, body = rest.partition(f"\n{_FENCE}\n")
    if not (fence and closing) or not content.startswith(_FENCE):
        raise InputError(
            f"{_KEY}: {name} has no header between two lines of {_FENCE}", mend="see docs/howto/synthesis.md"
        )
    try:
        values = toml_tables(head)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{_KEY}: the header of {name} is no TOML: {error}") from error
    template = Template(name, checked_section(Header, values, f"template {name}"), body, content)
    try:
        _ = template._parts
        _ = template.sampling({}, None)
    except _FAULTS as error:
        raise InputError(f"{_KEY}: {name} cannot be used: {error}", mend="see docs/howto/synthesis.md") from error
    return template
