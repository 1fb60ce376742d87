"""Changes one thing of a module at a time and runs the module's tests, in processes that are forked for each.

The parent imports libraries and none of the project, so that a child takes a second.
"""

import ast
import importlib.machinery
import io
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.core.progress import say

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("pytest", "hypothesis", "numpy", "pyarrow.parquet", "pyarrow.compute", "pandas", "pydantic", "ray")
COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
COMPARED |= {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
COMPUTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult}
COMPUTED |= {ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Mod: ast.Mult}


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record per module."""
    for module in parameters["modules"]:
        tests = parameters["tests"][Path(module).stem]
        equivalent = parameters["equivalent"].get(Path(module).stem, [])
        drawn = parameters["mutants"], parameters["seed"], parameters["places"]
        found = call_in_subprocess(run_module, module, tests, equivalent, *drawn, parameters["timeout_s"])
        say(f"{module}: {found['killed']} of {found['mutants']} killed")
        yield {"arm": module, **found}


def run_module(
    module: str, tests: list[str], equivalent: list[str], number: int, seed: int, places: list[int], timeout_s: float
) -> Record:
    """What becomes of so many mutants of a module, or of those at the places that are named.

    Args:
        module: Path of the file, from the repository's root.
        tests: Arguments of pytest.
        equivalent: Changes, as `changed_line` names them, that make no difference; they are not run and do not count.
        number: How many mutants are drawn.
        seed: Of the draw.
        places: Places to run in place of those drawn.
        timeout_s: Seconds after which a mutant counts as killed.
    """
    source = (ROOT / module).read_text(encoding="utf-8")
    number_of_places = len(sites(ast.parse(source)))
    drawn = list(range(number_of_places))
    random.Random(seed).shuffle(drawn)
    for name in LIBRARIES:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name == "xpoll" or name.startswith(("xpoll.", "tests"))]:
        del sys.modules[name]
    if survives(module, None, tests, timeout_s) is not True:
        raise SystemExit(f"the tests of {module} fail as it is: {tests}")
    drawn = places or drawn[:number]
    lines = {place: changed_line(source, place) for place in drawn}
    taken = [place for place in drawn if lines[place] not in equivalent]
    survivors = []
    for place in taken:
        if survives(module, place, tests, timeout_s):
            survivors.append(f"{lines[place]} (place {place})")
            say(f"{module} survived: {survivors[-1]}")
    killed = len(taken) - len(survivors)
    return {
        "places": number_of_places,
        "equivalent": len(drawn) - len(taken),
        "mutants": len(taken),
        "killed": killed,
        "killed_share": round(killed / len(taken), 3),
        "survivors": sorted(survivors),
    }


Site = tuple[Any, str, Any]


def sites(tree: ast.Module) -> list[Site]:
    """Every place that can be changed: the node, what of it, and what for."""
    found: list[Site] = []
    for node in ast.walk(tree):
        match node:
            case ast.Compare(ops=ops):
                found += [(node, f"ops {i}", COMPARED[type(op)]()) for i, op in enumerate(ops) if type(op) in COMPARED]
            case ast.BinOp(op=op) if type(op) in COMPUTED and not isinstance(node.left, ast.Constant | ast.JoinedStr):
                found.append((node, "op", COMPUTED[type(op)]()))
            case ast.BoolOp(op=op):
                found.append((node, "op", ast.Or() if isinstance(op, ast.And) else ast.And()))
            case ast.UnaryOp(op=ast.Not()):
                found.append((node, "not", None))
            case ast.If() | ast.IfExp() | ast.While():
                found.append((node, "test", ast.UnaryOp(ast.Not(), node.test)))
            case ast.Constant(value=bool() | int() as value):
                found.append((node, "value", (not value) if isinstance(value, bool) else value + 1))
        for statement in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            if is_call or isinstance(statement, ast.AugAssign):
                found.append((statement, "dropped", node))
    raising = {id(each) for node in ast.walk(tree) if isinstance(node, ast.Raise) for each in ast.walk(node)}
    typed = {
        id(each)
        for node in ast.walk(tree)
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if part is not None
        for each in ast.walk(part)
    }
    decorating = {
        id(each)
        for node in ast.walk(tree)
        for decorator in getattr(node, "decorator_list", [])
        for each in ast.walk(decorator)
    }
    return [site for site in found if id(site[0]) not in raising | typed | decorating]


def mutated(tree: ast.Module, place: int) -> ast.Module:
    """The tree with the change at a place."""
    node, field, instead = sites(tree)[place]
    kind, _, number = field.partition(" ")
    if kind == "ops":
        node.ops[int(number)] = instead
    elif kind == "not":
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
    elif kind == "dropped":
        instead.body[instead.body.index(node)] = ast.Pass()
    else:
        setattr(node, kind, instead)
    return ast.fix_missing_locations(tree)


def changed_line(source: str, place: int) -> str:
    """The line of a program that a mutant has in place of another, as `ast.unparse` writes it, or what it drops."""
    before, after = (ast.unparse(tree).splitlines() for tree in (ast.parse(source), mutated(ast.parse(source), place)))
    old, new = next((old.strip(), new.strip()) for old, new in zip(before, after, strict=True) if old != new)
    return f"without {old}" if new == "pass" else new


def survives(module: str, place: int | None, tests: list[str], timeout_s: float) -> bool:
    """Whether all tests pass on a mutant; on the module as it is where there is no place."""
    child = os.fork()
    if child == 0:
        os._exit(_tested(module, place, tests))
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status == 0
        time.sleep(0.02)
    say(f"{module}: what is changed at place {place} takes over {timeout_s:g} s and counts as killed")
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _tested(module: str, place: int | None, tests: list[str]) -> int:
    import pytest

    os.setpgid(0, 0)
    path = ROOT / module
    real = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, fullname: str) -> Any:
        if place is not None and fullname == "xpoll." + module.removesuffix(".py").replace("/", "."):
            return compile(mutated(ast.parse(path.read_bytes()), place), str(path), "exec")
        return real(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    os.chdir(ROOT)
    silent = io.StringIO()
    options = ["-x", "-q", "-m", "not engine", "-p", "no:cacheprovider", "-p", "no:xdist"]
    with redirect_stdout(silent), redirect_stderr(silent):
        return int(pytest.main([*options, "-o", "pythonpath=build/links", *tests]))
