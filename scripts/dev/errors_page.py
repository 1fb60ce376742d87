"""docs/reference/errors.md: every error that a user can mend, with what mends it, from the calls that raise them.

The text of a message is read off the code; what stands there at run time is a word in capitals.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core import errors
from xpoll.core.error_kinds import KINDS
from xpoll.engine.failures import FAILURES

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "xpoll": "The Python API",
    "core": "Jobs, files, models",
    "energy": "Energy",
    "personas": "Documents and personas",
    "synthesis": "Synthesis",
    "engine": "Engines, devices, answers",
    "votes": "Votes and reviews",
    "student": "The student",
    "report": "The report",
    "pipeline": "Steps, check, serving",
    "scripts": "Commands",
    "benchmarks": "Suites",
}
CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.UserError)]
SAID = ("", "MEND")
"""Where there is no remedy beside the message, or one that is made elsewhere."""
HEAD = """# Errors and what mends them

An error of xpoll is one line: what is wrong, why, and behind `->` what to type or change. In Python it is the same line
as an exception. Anything with a traceback is a fault of xpoll: `xpoll doctor --bundle bundle.json` writes what a report
needs. By symptom: [troubleshooting](../troubleshooting.md). Words in capitals stand for what the message names.

This page is made from the code: `python -m xpoll.scripts.dev.pages`.
"""


class Message(NamedTuple):
    """An error as the code writes it: its class, its text and what mends it."""

    kind: str
    what: str
    mend: str


@functools.cache
def page() -> str:
    """The whole page: classes, error rows, engines' failures, then all messages room by room."""
    parts = [HEAD, _classes(), _rows(), _failures()]
    for room, title in ROOMS.items():
        found = sorted(set(messages(ROOT / room)), key=lambda each: (each.what.lower(), each.mend))
        if room == "benchmarks":  # whose own faults are no mistakes of a user
            found = [each for each in found if each.mend]
        table = [
            f"| {_code(each.what)} | {_code(each.mend) if each.mend not in SAID else 'the message says it'} |"
            for each in found
        ]
        parts.append("\n".join([f"## {title}", "", "| message | what mends it |", "|---|---|", *table, ""]))
    return "\n".join(parts)


def _classes() -> str:
    rows = [f"| `{each.__name__}` | {each.exit_code} | {_one_line(each.__doc__)} |" for each in CLASSES]
    return "\n".join(["## Classes", "", "| class | exit code | what it says |", "|---|---|---|", *rows, ""])


def _rows() -> str:
    about = (
        "A text that cannot be asked about ends as an error row, and the rest goes on. `poll` counts them by kind;\n"
        "the column `error` of `completions/` has each one's reason."
    )
    rows = [f"| `{name}` | {_cell(kind.mend)} |" for name, kind in KINDS.items()]
    return "\n".join(["## Error rows", "", about, "", "| kind | what mends it |", "|---|---|", *rows, ""])


def _failures() -> str:
    about = "What engines die of, as far as it is known by name. The engine's own lines are in `xpoll.log`."
    rows = [f"| {each.name} | {_cell(each.what)} | {_code(each.mend)} |" for each in FAILURES]
    head = ["## Engines", "", about, "", "| failure | what it is | what mends it |", "|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def messages(folder: Path) -> Iterator[Message]:
    """The errors that the modules of a folder make, and the problems that `xpoll check` names."""
    names = {each.__name__ for each in CLASSES}
    for path in sorted(folder.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if not any(f"{name}(" in source for name in (*names, "Problem")):
            continue
        tree = ast.parse(source)
        scopes = [tree, *(each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))]
        for call in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
            given = {each.arg: each.value for each in call.keywords}
            what = call.args[0] if call.args else given.get("what")
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if what is None or not (name in names or (name == "Problem" and "mend" in given)):
                continue
            texts = _texts_before(call, scopes)
            words = _text(what, texts), _text(given["mend"], texts) if "mend" in given else ""
            if re.search("[a-z]{2}", words[0]):  # else the text comes from elsewhere as a whole
                yield Message(name, *words)


def _texts_before(call: ast.Call, scopes: list[Any]) -> dict[str, ast.expr]:
    """The names that hold a text where a call stands: of its module, and of the functions around it."""
    found: dict[str, ast.expr] = {}
    for scope in scopes:
        is_module = isinstance(scope, ast.Module)
        if not is_module and not scope.lineno <= call.lineno <= scope.end_lineno:
            continue
        for each in scope.body if is_module else ast.walk(scope):
            if isinstance(each, ast.Assign) and each.lineno <= call.lineno:
                for target in each.targets:
                    found |= {name.id: each.value for name in [target] if isinstance(name, ast.Name)}
    return {name: value for name, value in found.items() if isinstance(value, ast.Constant | ast.JoinedStr | ast.IfExp)}


def _text(node: ast.expr, texts: dict[str, ast.expr]) -> str:
    """The text that an expression gives."""
    match node:
        case ast.Constant(value=str() as text):
            return " ".join(text.split(" "))
        case ast.JoinedStr(values=values):
            return "".join(_text(each, texts) for each in values)
        case ast.FormattedValue(value=value, conversion=conversion):
            word = _text(value, texts)
            return f"'{word}'" if conversion == ord("r") and not word.startswith("'") else word
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, texts) + _text(right, texts)
        case ast.IfExp(body=body, orelse=other):
            ways = [text for each in (body, other) if (text := _text(each, texts)) not in ("", "NONE")]
            return " / ".join(dict.fromkeys(ways))
        case ast.BoolOp(values=values):
            return " / ".join(dict.fromkeys(_text(each, texts) for each in values))
        case ast.Name(id=name) if name in texts:
            rest = {each: value for each, value in texts.items() if each != name}
            return _text(texts[name], rest)
        case _:
            return _word(node)


def _word(node: ast.expr) -> str:
    """A word in capitals for a value."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").upper()
        case ast.Call(func=ast.Attribute(attr="join"), args=[inner, *_]):
            return _word(inner)
        case ast.Call(func=ast.Name(id="len" | "str" | "sorted" | "list" | "repr" | "map"), args=[*_, inner]):
            return _word(inner)
        case ast.Call(func=ast.Name(id="nearest")):
            return "did you mean ...?"
        case ast.Call(func=function):
            return _word(function)
        case ast.Subscript(slice=ast.Constant(value=str() as key)):
            return key.upper()
        case ast.Subscript(value=value) | ast.Starred(value=value):
            return _word(value)
        case ast.GeneratorExp(elt=inner) | ast.ListComp(elt=inner):
            return _word(inner)
        case ast.JoinedStr() | ast.Constant(value=str()):
            return _text(node, {})
        case ast.Constant(value=value):
            return str(value).upper()
    return "..."


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    """A text as it is, in a cell."""
    line = _one_line(text).replace("|", "\\|")
    return f"`` {line} ``" if "`" in line else f"`{line}`"
