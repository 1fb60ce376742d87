"""docs/reference/commands.md: every command with its arguments, from the parsers themselves."""

import argparse
from collections.abc import Iterator

from xpoll.scripts.cli import COMMANDS, parser

HEAD = """# Commands

What `xpoll COMMAND --help` says, on one page. Every command also takes `--json` (results for machines on stdout),
`--quiet` (no progress) and `--help`. Figures go to stdout, progress and errors to stderr.

| exit code | what it means |
|---|---|
| 0 | done |
| 1 | `doctor` warns, or a check of `bench` does not hold |
| 2 | a mistake: one line says what, why and what to type; or answers that are lost (`check`, `status`) |
| 75 | what is asked cannot be reached or answers nobody for now: the same command resumes |
| 130 | stopped by Ctrl-C, SIGTERM or a closed terminal: the same command resumes |

This page is made from the code: `python -m xpoll.scripts.dev.pages`.
"""
COMMON = frozenset({"help", "json", "quiet"})


def page() -> str:
    """The whole page, commands in the order of the data."""
    parts = [HEAD]
    for name, about in COMMANDS.items():
        parts.append(f"## xpoll {name}\n\n{_sentence(about)}\n")
        parts += _tables(_sub(parser(name), name))
    return "\n".join(parts)


def _sub(root: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    return _choices(root)[name]


def _choices(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands below a command, by name."""
    found = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def _tables(command: argparse.ArgumentParser) -> Iterator[str]:
    below = _choices(command)
    rows = [_row(action) for action in command._actions if action.dest not in COMMON and not _is_sub(action)]
    if rows:
        yield "\n".join(["| argument | meaning |", "|---|---|", *rows, ""])
    helps = {action.dest: action.help for group in command._actions if _is_sub(group) for action in _pseudo(group)}
    for name, each in below.items():
        yield f"### {each.prog}\n\n{_sentence(helps.get(name) or '')}\n"
        yield from _tables(each)


def _is_sub(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction)


def _pseudo(action: argparse.Action) -> list[argparse.Action]:
    return list(getattr(action, "_choices_actions", []))


def _row(action: argparse.Action) -> str:
    shown = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None:
        shown = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        name = f"[{shown}]" if action.nargs in ("?", "*") else shown
    elif action.nargs == 0:
        name = ", ".join(action.option_strings)
    else:
        name = f"{', '.join(action.option_strings)} {shown}"
    cells = (f"`{name}`", " ".join((action.help or "").replace("%%", "%").split()))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip(' .')}." if text else ""
