"""`xpoll bench NAME`: runs benchmarks/suites/NAME.toml and holds what it measured against the suite's bounds.

Reads the suite. Prints, and returns as one JSON document: suite, records (one a repeat), environment
and checks. A check is over the median of the records.
"""

import statistics
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.dispatcher import measure_dispatcher
from core.environment import capture
from core.errors import ConfigError

SUITES = Path(__file__).parent / "suites"

RUNNERS: dict[str, Callable[[dict[str, Any]], dict[str, float]]] = {"dispatcher": measure_dispatcher}
"""Name of a suite to what measures it once; to add a suite: one function, one line here, one TOML."""


def suite_names() -> list[str]:
    """The suites there are, sorted."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def run_suite(name: str) -> dict[str, Any]:
    """Runs a suite as often as it says.

    Raises:
        ConfigError: there is no such suite.
    """
    if name not in RUNNERS:
        raise ConfigError(f"there is no suite {name!r}", mend=f"known suites: {', '.join(suite_names())}")
    suite = tomllib.loads((SUITES / f"{name}.toml").read_text(encoding="utf-8"))
    parameters = suite["parameters"]
    records = [RUNNERS[name](parameters) for _ in range(parameters["repeats"])]
    checks = [_check(bound, records) for bound in suite["checks"]]
    return {
        "suite": name,
        "about": suite["about"],
        "parameters": parameters,
        "records": records,
        "environment": capture(),
        "checks": checks,
    }


def _check(bound: dict[str, Any], records: list[dict[str, float]]) -> dict[str, Any]:
    values = [record[bound["name"]] for record in records]
    value = statistics.median(values)
    holds = value >= bound.get("at_least", value) and value <= bound.get("at_most", value)
    return {**bound, "value": value, "lowest": min(values), "highest": max(values), "holds": holds}
