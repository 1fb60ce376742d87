"""Fenced blocks of Markdown pages, run as a reader who types them would."""

import re
from pathlib import Path
from typing import Any, NamedTuple


class Fenced(NamedTuple):
    """A block: its language, its text, and the line that its text begins in, from 1."""

    language: str
    text: str
    line: int


def blocks(page: Path, language: str) -> list[Fenced]:
    """The blocks of a page in a language, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Fenced(language, found[1], text.count("\n", 0, found.start()) + 2)
        for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


def languages(page: Path) -> set[str]:
    """The languages of a page's blocks; "" of one that names none."""
    opening = page.read_text(encoding="utf-8").split("\n```")[1::2]
    return {each.split("\n", 1)[0].strip() for each in opening}


def run_python(page: Path) -> dict[str, Any]:
    """Runs all Python blocks of a page in one namespace, which is returned; a traceback names lines of the page."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page, "python"):
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    return names
