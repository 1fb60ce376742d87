"""`xpoll completion`: what a shell needs to complete commands, options and files."""

import argparse
import importlib
from pathlib import Path


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The shell."""
    command.add_argument("shell", choices=["bash", "zsh"], help="bash: source <(xpoll completion bash)")


def call(parsed: argparse.Namespace) -> int:
    """Prints a script for the shell."""
    import shtab

    cli = importlib.import_module("xpoll.scripts.cli")  # which finds commands, this one included, by their names
    root = cli.parser(*cli.COMMANDS)
    for action in _actions(root):
        if action.type is Path or action.dest in ("input", "output", "job"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(root, shell=parsed.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [each for command in action.choices.values() for each in _actions(command)]
        else:
            found.append(action)
    return found
