"""Prints docs/configuration.md from the docstrings of core.config; the page itself says how to call it."""

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from xpoll.core.config import Config, Section
from xpoll.engine.backends.registry import BACKENDS

HEAD = """# Configuration

One TOML file a job. Defaults are below; then comes the file; then `--set section.key=value`, from left to right.
Unknown keys are refused. Relative paths are relative to the current folder. Secrets come from the environment only
(`HF_TOKEN`). This page is made from the code: `python -m xpoll.scripts.dev.config_page > docs/configuration.md`.
"""

VLLM = """### [engine.vllm]

Passed to vLLM's engine arguments verbatim; wins over what xpoll would set. vLLM's own documentation has the keys.
"""


def page() -> str:
    """The whole page, sections in the order of the data."""
    parts = [HEAD]
    for name, field in Config.model_fields.items():
        section = field.annotation
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
    return "\n".join(
        f"| `{key}` | {_type(field)} | {_default(field)} | {_one_line(field.description)} |"
        for key, field in section.model_fields.items()
    )


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _type(field: FieldInfo) -> str:
    annotation = field.annotation
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return (
        "`"
        + name.replace("typing.", "")
        .replace("xpoll.core.config.", "")
        .replace("xpoll.core.task.", "")
        .replace("|", "or")
        .replace("  ", " ")
        + "`"
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else f"`{field.default!r}`"


if __name__ == "__main__":
    print(page(), end="")
