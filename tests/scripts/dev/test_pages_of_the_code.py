"""Pages of docs/reference that are made from the code say what the code says."""

import ast
from pathlib import Path

import pytest

from xpoll.core.error_kinds import KINDS
from xpoll.engine.failures import FAILURES
from xpoll.scripts.cli import COMMANDS
from xpoll.scripts.dev import errors_page
from xpoll.scripts.dev.commands_page import page as commands
from xpoll.scripts.dev.pages import PAGES, REFERENCE


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_the_one_that_the_code_makes(name: str) -> None:
    made = (REFERENCE / name).read_text(encoding="utf-8")
    assert made == PAGES[name](), "python -m xpoll.scripts.dev.pages"


def test_every_command_has_its_arguments_and_those_below_it_too() -> None:
    text = commands()
    assert [f"## xpoll {name}\n" in text for name in COMMANDS] == [True] * len(COMMANDS)
    assert "### xpoll review sample\n" in text and "| `--max-error E` |" in text
    assert "--quiet |" not in text, "what all commands take is said once"


def test_every_kind_of_error_has_what_mends_it() -> None:
    text = errors_page.page()
    missing = [name for name in KINDS if f"| `{name}` | " not in text]
    missing += [each.name for each in FAILURES if f"| {each.name} | " not in text]
    missing += [
        each.__name__ for each in errors_page.CLASSES if f"| `{each.__name__}` | {each.exit_code} | " not in text
    ]
    assert not missing


def test_every_room_that_makes_errors_has_its_part_of_the_page() -> None:
    names = {each.__name__ for each in errors_page.CLASSES}
    makers = {
        path.relative_to(errors_page.ROOT).parts[0]
        for room in errors_page.ROOT.iterdir()
        if room.is_dir() and (room / "__init__.py").exists()
        for path in room.rglob("*.py")
        if any(f"{name}(" in path.read_text(encoding="utf-8") for name in names)
    }
    assert not makers - set(errors_page.ROOMS) - {"experiments", "tests"}


def test_messages_are_read_off_the_code(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        """
HINT = "see the page"
def check(path, key, known, is_new):
    what = f"{path.name!r} is wrong"
    raise ConfigError(what, mend=HINT)
def other(path, key, known, is_new):
    what = "another | text"
    raise InputError(f"{key}: no {known['word']} in {', '.join(known)}", mend="a" if is_new else "b")
    raise ModelError(what)
    raise EngineError(str(path))
    raise ValueError("no mistake of a user")
"""
    )
    assert ast.parse((tmp_path / "module.py").read_text())
    assert list(errors_page.messages(tmp_path)) == [
        ("ConfigError", "'NAME' is wrong", "see the page"),
        ("InputError", "KEY: no WORD in KNOWN", "a / b"),
        ("ModelError", "another | text", ""),
    ]
