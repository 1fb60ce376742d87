"""`xpoll bench NAME`: runs benchmarks/suites/NAME.toml and holds what it measured against the suite's bounds.

Reads the suite. Returns one JSON document, and writes it to runs/bench/ with a page for people beside it:
suite, about, parameters, changed (parameters that differ from the file), records, environment, checks,
complete. A suite that is stopped leaves the records it has, with complete = false and no checks.
"""

import importlib
import math
import statistics
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.benchmarks.runner.page import write_suite_page
from xpoll.benchmarks.runner.records import Record, Runner
from xpoll.core.config_file import apply_overrides, nearest
from xpoll.core.environment import capture
from xpoll.core.errors import ConfigError
from xpoll.core.files import write_json
from xpoll.engine.devices.find import describe, find_devices

SUITES = Path(__file__).parents[1] / "suites"
MODULES = "xpoll.benchmarks.suites."


class Suite(NamedTuple):
    """What there is to measure, and what its figures are held against.

    Attributes:
        name: As `xpoll bench` takes it.
        file: TOML of about, parameters and checks.
        module: Its `measure(parameters)` yields the records.
    """

    name: str
    file: Path
    module: str

    def read(self) -> dict[str, Any]:
        """About, parameters and checks, as the file has them."""
        return tomllib.loads(self.file.read_text(encoding="utf-8"))


AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "median": statistics.median,
    "sum": sum,
    "min": min,
    "max": max,
}
"""What `over` in a check may name: how the records that have the figure become one value."""


def suite_names() -> list[str]:
    """The suites there are, sorted."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def read_suite(name: str) -> dict[str, Any]:
    """A suite as its file has it: about, parameters, checks.

    Raises:
        ConfigError: there is no such suite.
    """
    return find_suite(name).read()


def find_suite(name: str) -> Suite:
    """The suite of a NAME.toml and a NAME.py in benchmarks/suites.

    Raises:
        ConfigError: there is no such suite.
    """
    if name not in suite_names():
        raise ConfigError(f"there is no suite {name!r}", mend=f"known suites: {', '.join(suite_names())}")
    return Suite(name, SUITES / f"{name}.toml", f"{MODULES}{name}")


def run_suite(suite: Suite, *, overrides: list[str] | None = None, output: Path | None = None) -> dict[str, Any]:
    """Runs a suite.

    Args:
        suite: As `find_suite` gives it; an experiment has one of its own.
        overrides: "parameters.key=value" each.
        output: Where the document is written; runs/bench/NAME-<UTC time>.json unless given.

    Raises:
        ConfigError: there is no such parameter.
    """
    measure: Runner = importlib.import_module(suite.module).measure
    name, file = suite.name, suite.read()
    changed = _override(file, overrides or [])
    records: list[Record] = []
    result = {
        "suite": name,
        "about": file["about"],
        "started_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "parameters": file["parameters"],
        "changed": changed,
        "records": records,
        "environment": capture() | {"devices": describe(find_devices("auto", 0))},
        "checks": [],
        "complete": False,
    }
    output = output or Path("runs/bench") / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    result["output"] = str(output)
    try:
        for record in measure(file["parameters"]):
            records.append(record)
        result["checks"] = [check(bound, records) for bound in file["checks"]]
        result["complete"] = True
    finally:
        write_json(output, result)
        write_suite_page(result, output.with_suffix(".html"))
    return result


def _override(suite: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Applies overrides to the suite; returns the parameters that differ from the file's."""
    parameters = suite["parameters"]
    before = dict(parameters)
    for override in overrides:
        table, _, key = override.partition("=")[0].strip().partition(".")
        if table != "parameters" or key not in before:
            known = [f"parameters.{known}" for known in before]
            raise ConfigError(f"unknown parameter {table}.{key}", mend=nearest(f"{table}.{key}", known))
        apply_overrides(suite, [override])
        if not _same_kind(before[key], parameters[key]):
            raise ConfigError(f"--set {override!r}: {key} must be of the kind of {before[key]!r}")
    for key, known in suite.get("choices", {}).items():
        _check_choice(key, parameters[key], known)
    return {key: value for key, value in parameters.items() if value != before[key]}


def _check_choice(key: str, chosen: list[str], known: list[str]) -> None:
    """Before anything is measured: ceilings alone take minutes."""
    if not chosen:
        raise ConfigError(f"parameters.{key} names none", mend=f"known: {', '.join(known)}")
    unknown = next((name for name in chosen if name not in known), None)
    if unknown is not None:
        raise ConfigError(f"parameters.{key}: there is no {unknown!r}", mend=f"known: {', '.join(known)}")


def _same_kind(old: Any, new: Any) -> bool:
    numbers = (int, float)
    if isinstance(old, bool) or isinstance(new, bool):
        return isinstance(old, bool) and isinstance(new, bool)
    if isinstance(old, float):
        return isinstance(new, numbers)
    return isinstance(new, type(old))


def check(bound: dict[str, Any], records: list[Record]) -> dict[str, Any]:
    """Holds the records that have the figure `name` against a bound; without any it does not hold.

    `over` says how they become one value: an aggregate, median unless it is said; with `over = "all"`
    each of them must hold, and the value is the worst.
    """
    values = [float(record[bound["name"]]) for record in records if record.get(bound["name"]) is not None]
    if not values:
        return {**bound, "value": None, "lowest": None, "highest": None, "holds": False}
    at_least, at_most = bound.get("at_least", -math.inf), bound.get("at_most", math.inf)
    over = bound.get("over", "median")
    if over == "all":
        value = min(values) if "at_least" in bound else max(values)
        holds = all(at_least <= each <= at_most for each in values)
    else:
        value = AGGREGATES[over](values)
        holds = at_least <= value <= at_most
    return {**bound, "value": value, "lowest": min(values), "highest": max(values), "holds": holds}
