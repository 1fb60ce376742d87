"""Loads personas from the library or from files, one TOML file each."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path

from xpoll.core.errors import InputError
from xpoll.core.files import toml_tables

LIBRARY = Path(__file__).parent / "library"


@dataclass(frozen=True, slots=True)
class Persona:
    """A member of the panel.

    Attributes:
        persona_id: Name of its file, or a hash of its text; unique in a panel.
        persona: A noun phrase; the prompt puts "You are" before it.
        field: Its domain, e.g. "finance"; empty where its file does not say.
        source: "library" or the path of the file that it is from.
    """

    persona_id: str
    persona: str
    field: str = ""
    source: str = dataclasses.field(default="", compare=False)


def library_names() -> list[str]:
    """Names of the personas in the library, sorted."""
    return sorted(path.stem for path in LIBRARY.glob("*.toml"))


def load_panel(names: list[str]) -> list[Persona]:
    """The personas of a panel, in the order of their names.

    Args:
        names: Library names, or paths of TOML files with the key `persona` and, optionally, `field`.

    Raises:
        InputError: a name is unknown or given twice, or a file is malformed.
    """
    panel = [_load(name) for name in names]
    ids = [persona.persona_id for persona in panel]
    for persona_id in ids:
        if ids.count(persona_id) > 1:
            raise InputError(f"panel.personas: {persona_id!r} is named twice", mend="name each persona once")
    return panel


def _load(name: str) -> Persona:
    path = Path(name) if name.endswith(".toml") else LIBRARY / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(library_names())
        raise InputError(f"panel.personas: there is no persona {name!r}", mend=f"name a TOML file or one of: {known}")
    try:
        values = toml_tables(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"panel.personas: {path} cannot be read as TOML: {error}") from error
    persona = values.get("persona")
    if not isinstance(persona, str) or not persona.strip():
        raise InputError(f"panel.personas: {path} has no text under the key 'persona'", mend="see personas/library")
    if unknown := values.keys() - {"persona", "field"}:
        raise InputError(f"panel.personas: {path} has unknown keys: {', '.join(sorted(unknown))}")
    source = "library" if path.parent == LIBRARY else name
    return Persona(path.stem, persona.strip(), str(values.get("field", "")), source)
