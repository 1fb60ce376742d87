"""Says what of the things that xpoll takes for granted has moved in another version of a package.

    python -m xpoll.scripts.dev.upstream_drift vllm-0.34.0-cp38-abi3-manylinux1_x86_64.whl ray-2.61.0-....whl
    python -m xpoll.scripts.dev.upstream_drift .venv/lib/python3.11/site-packages

A wheel is read as it is, a folder as a site-packages; nothing of either is imported or run. The table of facts is
upstream_facts.toml beside this file. Prints a line for each fact that no longer holds, and ends with 1 if there is one.
"""

import argparse
import ast
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, model_validator

FACTS = Path(__file__).with_name("upstream_facts.toml")

Read = Callable[[str], str | None]
"""From a file's path in a package to its text; None where it is not there."""


class Fact(BaseModel):
    """One thing that xpoll takes for granted; exactly one of `value`, `has` and `text` says what.

    Attributes:
        package: Import name of the package.
        file: Path of the file, from where packages are installed.
        name: Dotted name in that file, of a constant (`value`), or of a class or function (`has`).
        value: The constant.
        has: Fields, methods or nested names of the class, or parameters of the function.
        text: What the file contains.
        used_in: The file of xpoll that takes it for granted.
    """

    model_config = ConfigDict(extra="forbid")
    package: str
    file: str
    name: str = ""
    value: Any = None
    has: list[str] = []
    text: str = ""
    used_in: str

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Fact":
        if sum((self.value is not None, bool(self.has), bool(self.text))) != 1 or bool(self.name) == bool(self.text):
            raise ValueError("needs a name with `value` or `has`, or else `text`")
        return self


class Moved(NamedTuple):
    """A fact that no longer holds, and what is there instead."""

    fact: Fact
    what: str

    def __str__(self) -> str:
        where = f"{self.fact.file}: {self.fact.name or repr(self.fact.text)}"
        return f"{where} {self.what} (used in {self.fact.used_in})"


def load_facts(path: Path = FACTS) -> list[Fact]:
    """The table of facts."""
    return [Fact.model_validate(each) for each in tomllib.loads(path.read_text(encoding="utf-8"))["facts"]]


def drift(facts: Sequence[Fact], packages: set[str], read: Read) -> list[Moved]:
    """The facts about some packages that do not hold.

    Args:
        facts: All facts.
        packages: Import names of the packages that can be read.
        read: Reads a file of them.
    """
    moved = []
    for fact in facts:
        if fact.package not in packages:
            continue
        source = read(fact.file)
        what = "is in no such file" if source is None else _moved(fact, source)
        if what:
            moved.append(Moved(fact, what))
    return moved


def _moved(fact: Fact, source: str) -> str:
    if fact.text:
        return "" if fact.text in source else "is not there"
    node = _find(ast.parse(source), fact.name.split("."))
    if node is None:
        return "is not there"
    if fact.has:
        missing = [name for name in fact.has if name not in _names_in(node)]
        return f"lacks {', '.join(missing)}" if missing else ""
    try:
        found = ast.literal_eval(node)
    except ValueError:
        return f"is no constant: {ast.unparse(node)}"
    return "" if found == fact.value else f"is {found!r} and not {fact.value!r}"


def _find(tree: ast.AST, path: Sequence[str]) -> ast.AST | None:
    """The node that a dotted name is bound to, or the value of its assignment; the last binding counts."""
    found: ast.AST | None = tree
    for name in path:
        found = next((node for bound, node in reversed(list(_bindings(found))) if bound == name), None)
        if found is None:
            return None
    return found


def _bindings(node: ast.AST | None) -> Iterator[tuple[str, ast.AST]]:
    for each in getattr(node, "body", []):
        if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield each.name, each
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            yield each.target.id, each.value or each
        elif isinstance(each, ast.Assign):
            for target in each.targets:
                if isinstance(target, ast.Name):
                    yield target.id, each.value


def _names_in(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    return {name for name, _ in _bindings(node)}


def open_packages(path: Path) -> tuple[set[str], Read]:
    """Import names of the packages in a wheel or a folder, and what reads their files."""
    if path.is_dir():
        folders = {each.name for each in path.iterdir() if each.is_dir() or each.suffix == ".py"}
        return folders, lambda file: _text_of(path / file)
    wheel = zipfile.ZipFile(path)
    names = set(wheel.namelist())
    packages = {name.partition("/")[0] for name in names}
    return packages, lambda file: wheel.read(file).decode("utf-8") if file in names else None


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", nargs="+", type=Path, help="a wheel, or a folder of installed packages")
    parser.add_argument("--facts", type=Path, default=FACTS, help="another table of facts")
    asked = parser.parse_args(arguments)
    facts, lines, held = load_facts(asked.facts), [], 0
    for path in asked.path:
        packages, read = open_packages(path)
        about = [fact for fact in facts if fact.package in packages]
        moved = drift(about, packages, read)
        held += len(about) - len(moved)
        lines += [f"{path.name}: {each}" for each in moved]
        lines += [] if about else [f"{path.name}: no fact is about it"]
    sys.stdout.write("".join(f"{line}\n" for line in lines) + f"{held} facts hold, {len(lines)} lines above do not\n")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
