"""Keys, messages and verdicts that pages name are those of the code."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from tests.conftest import ROOT
from xpoll.core.config.job import Config
from xpoll.engine.backends.registry import BACKENDS
from xpoll.report.metrics import EngineFigures
from xpoll.scripts.dev import errors_page
from xpoll.student.evaluation import Word

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECTIONS = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
FILES = re.compile(r"\.(?:json|html|md|parquet|toml)$")
OPTIONS = {name: spec.options() for name, spec in BACKENDS.items() if spec.options}


def is_key(path: str) -> bool:
    section, key, *rest = path.split(".")
    fields = SECTIONS[section].model_fields
    if section == "engine" and key in OPTIONS and rest:
        return rest[0] in OPTIONS[key].model_fields
    if section == "engine":  # in metrics.json, too
        return key in {*fields, *OPTIONS, "vllm", *EngineFigures.model_fields}
    return key in fields


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_keys_that_a_page_names_are_keys(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})(?:\.[a-z_]+)+)(?: = [^`]*)?`", text))
    assert not [path for path in named if not FILES.search(path) and not is_key(path)]


def test_what_troubleshooting_quotes_is_said() -> None:
    said = errors_page.page() + (ROOT / "core/error_kinds.py").read_text(encoding="utf-8")
    lines = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8").splitlines()
    cells = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    verdicts = {found for cell in cells for found in re.findall(r"^verdict \*(.+)\*$", cell)}
    quoted = {found for cell in cells for found in re.findall(r"^\*(.+)\*$", cell)}
    assert len(quoted) >= 10 and not [words for words in quoted if words not in said]
    assert verdicts == set(get_args(Word)) - {"ship"}
