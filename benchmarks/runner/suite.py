"""`xpoll bench NAME`: runs the suite benchmarks/suites/NAME.py + NAME.toml and checks its bounds.

Reads the suite. Returns one JSON document, and writes it to runs/bench/ with an HTML page beside it: suite,
about, parameters, changed (parameters that differ from the file), records, environment, checks, complete. An
interrupted suite leaves its records so far, with complete = false and no checks.
"""

import importlib
import math
import statistics
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.benchmarks import suites
from xpoll.benchmarks.runner.page import write_suite_page
from xpoll.benchmarks.runner.records import Record, Runner
from xpoll.core.config.file import apply_overrides, nearest
from xpoll.core.errors import ConfigError
from xpoll.core.files import write_json
from xpoll.core.machine.environment import capture
from xpoll.engine.devices.find import describe, find_devices


class Suite(NamedTuple):
    """A suite.

    Attributes:
        name: Name for `xpoll bench`.
        file: TOML file of about, parameters and checks.
        module: Import name of the module whose `measure(parameters)` yields the records.
    """

    name: str
    file: Path
    module: str

    def read(self) -> dict[str, Any]:
        """The content of the file: about, parameters, checks and perhaps choices."""
        return tomllib.loads(self.file.read_text(encoding="utf-8"))


AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "median": statistics.median,
    "sum": sum,
    "min": min,
    "max": max,
}
"""Values of `over` in a check: how the records that have the figure become one value."""


def suite_names() -> list[str]:
    """Names of all suites, sorted."""
    return sorted(_suites())


def _suites() -> dict[str, Path]:
    return {path.stem: path for folder in suites.__path__ for path in Path(folder).glob("*.toml")}


def read_suite(name: str) -> dict[str, Any]:
    """The content of a suite's file: about, parameters, checks and perhaps choices.

    Raises:
        ConfigError: there is no such suite.
    """
    return find_suite(name).read()


def find_suite(name: str) -> Suite:
    """The suite of a NAME.toml and a NAME.py in benchmarks/suites.

    Raises:
        ConfigError: there is no such suite.
    """
    file = _suites().get(name)
    if file is None:
        raise ConfigError(f"there is no suite {name!r}", mend=f"known suites: {', '.join(suite_names())}")
    return Suite(name, file, f"{suites.__name__}.{name}")


def run_suite(suite: Suite, *, overrides: list[str] | None = None, output: Path | None = None) -> dict[str, Any]:
    """Runs a suite and writes its document; returns the document.

    Args:
        suite: As `find_suite` returns it; experiments make their own.
        overrides: "parameters.key=value" each.
        output: File of the document; runs/bench/NAME-<UTC time>.json unless given.

    Raises:
        ConfigError: there is no such parameter, or a value is not allowed.
    """
    module = importlib.import_module(suite.module)
    measure: Runner = module.measure
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
        result["checks"] = [check(bound, records) for bound in file["checks"] if _is_asked(bound, file["parameters"])]
        result["complete"] = True
    finally:
        write_json(output, result)
        write_suite_page(result, output.with_suffix(".html"))
    if hasattr(module, "finish"):
        module.finish(result)
    return result


def _is_asked(bound: dict[str, Any], parameters: dict[str, Any]) -> bool:
    """Whether the part of the suite that a bound is of was to be measured; a bound without `part` is of all."""
    return "part" not in bound or bound["part"] in parameters["parts"]


def _override(suite: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Applies overrides to the content of a suite's file; returns the parameters that differ."""
    parameters = suite["parameters"]
    before = dict(parameters)
    for override in overrides:
        table, _, key = override.partition("=")[0].strip().partition(".")
        if table != "parameters" or key not in before:
            known = [f"parameters.{known}" for known in before]
            raise ConfigError(f"unknown parameter {table}.{key}", mend=nearest(f"{table}.{key}", known))
        apply_overrides(suite, [override])
        if not _same_type(before[key], parameters[key]):
            raise ConfigError(f"--set {override!r}: {key} must be of the type of {before[key]!r}")
    for key, known in suite.get("choices", {}).items():
        _check_choice(key, parameters[key], known)
    return {key: value for key, value in parameters.items() if value != before[key]}


def _check_choice(key: str, chosen: list[str], known: list[str]) -> None:
    """Checked before anything is measured: ceilings alone take minutes."""
    if not chosen:
        raise ConfigError(f"parameters.{key} names none", mend=f"known: {', '.join(known)}")
    unknown = next((name for name in chosen if name not in known), None)
    if unknown is not None:
        raise ConfigError(f"parameters.{key}: there is no {unknown!r}", mend=f"known: {', '.join(known)}")


def _same_type(old: Any, new: Any) -> bool:
    numbers = (int, float)
    if isinstance(old, bool) or isinstance(new, bool):
        return isinstance(old, bool) and isinstance(new, bool)
    if isinstance(old, float):
        return isinstance(new, numbers)
    return isinstance(new, type(old))


def check(bound: dict[str, Any], records: list[Record]) -> dict[str, Any]:
    """Checks the records that have a figure against a bound; a figure that no record has does not hold.

    Args:
        bound: `name` of the figure, `unit`, `at_least` and `at_most`. `over` is the aggregate that makes one
            value of the records, by default the median; with "all" each record must hold, and the value is
            the worst.
        records: The records of a run.

    Returns:
        The bound with `value`, `lowest`, `highest` and `holds`.
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
