"""A command is one file in scripts/commands and one line in the table of cli.py."""

import argparse
import ast
import importlib
import sys
from types import ModuleType

import pytest

from tests.conftest import ROOT
from xpoll.scripts import cli

FOLDER = ROOT / "scripts/commands"


def test_files_and_table_name_the_same_commands() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert files == set(cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_file_has_the_two_functions_and_says_what_they_do(name: str) -> None:
    module = importlib.import_module(f"xpoll.scripts.commands.{name}")
    assert module.__doc__ and f"`xpoll {name}" in module.__doc__
    assert module.add_arguments.__doc__
    assert module.call.__doc__


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_what_is_imported_for_help_is_light(name: str) -> None:
    """Heavy packages are imported when a command is called, not when its help is shown."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    packages = {str(getattr(node, "module", None) or node.names[0].name).partition(".")[0] for node in at_top}
    assert not packages & {"torch", "ray", "vllm", "transformers", "scipy", "sklearn", "pandas"}


def test_a_command_is_added_by_a_line_and_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def call(parsed: argparse.Namespace) -> int:
        seen.append((parsed.whom, parsed.json))
        return 3

    added = ModuleType("xpoll.scripts.commands.greet")
    added.__dict__.update(add_arguments=lambda parser: parser.add_argument("whom"), call=call)
    monkeypatch.setitem(sys.modules, added.__name__, added)
    monkeypatch.setitem(cli.COMMANDS, "greet", "say hello")
    assert cli.main(["greet", "you", "--json"]) == 3
    assert seen == [("you", True)]
    assert "say hello" in cli.parser().format_help()
