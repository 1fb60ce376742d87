"""`xpoll bench`: runs a suite and prints its records and checks."""

import argparse
import json
from pathlib import Path
from typing import Any

from xpoll.benchmarks.runner.suite import find_suite, read_suite, run_suite, suite_names
from xpoll.core.errors import ConfigError
from xpoll.core.formatting import NOT_MEASURED, figure, number, with_unit
from xpoll.scripts.arguments import add_set
from xpoll.scripts.comparison import compare_documents


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the suite, its parameters, and what to compare."""
    command.add_argument("suite", nargs="?", help="name of a suite, or `compare`; without one, lists them")
    command.add_argument("files", nargs="*", help="with `compare`: two files of records, or names of baselines")
    command.add_argument("--list", action="store_true", help="list the suites")
    command.add_argument("--output", type=Path, help="file of the records (default: runs/bench/NAME-TIME.json)")
    add_set(command, "parameters.KEY=VALUE", "override a parameter")


def call(parsed: argparse.Namespace) -> int:
    """Runs a suite, lists them, or compares two documents."""
    if parsed.list or parsed.suite is None:
        return show_suites({name: read_suite(name) for name in suite_names()}, as_json=parsed.json)
    if parsed.suite == "compare":
        return compare_documents(parsed.files, as_json=parsed.json)
    if parsed.files:
        raise ConfigError(f"{parsed.files[0]!r} is one argument too many", mend=f"xpoll bench {parsed.suite}")
    document = run_suite(find_suite(parsed.suite), overrides=parsed.set, output=parsed.output)

    return show_suite(document, as_json=parsed.json)


def show_suites(suites: dict[str, dict[str, Any]], *, as_json: bool) -> int:
    """Prints the suites with their bounds and parameters; 0."""
    if as_json:
        print(json.dumps(suites))
        return 0
    for name, suite in suites.items():
        print(f"{name}: {suite['about']}")
        for bound in suite["checks"]:
            print(f"    {bound['name']}: {_bound(bound)} {bound['unit']}")
        print("    parameters: " + ", ".join(f"{key} = {value}" for key, value in suite["parameters"].items()))
    return 0


def show_suite(result: dict[str, Any], *, as_json: bool) -> int:
    """Prints records and checks, or one JSON document; 1 where a check does not hold."""
    code = 0 if all(check["holds"] for check in result["checks"]) else 1
    if as_json:
        print(json.dumps(result))
        return code
    print(result["about"])
    if result["changed"]:
        print("changed: " + ", ".join(f"{name} = {value}" for name, value in result["changed"].items()))
    for record in result["records"]:
        print("  " + ", ".join(f"{name} {figure(value)}" for name, value in record.items()))
    for check in result["checks"]:
        verdict = "holds" if check["holds"] else "DOES NOT HOLD"
        found = NOT_MEASURED
        if check["value"] is not None:
            spread = f"({number(check['lowest'])} to {number(check['highest'])})"
            found = f"{check.get('over', 'median')} {with_unit(check['value'], check['unit'])} {spread}"
        print(f"{check['name']}: {found}, {_bound(check)}: {verdict}")
    if not result["environment"]["commit"]:
        print("no commit is known, so that these figures cannot be compared with others")
    print(f"records: {result['output']}")
    print(f"page: {Path(result['output']).with_suffix('.html')}")
    return code


def _bound(check: dict[str, Any]) -> str:
    words = (word for word in ("at_least", "at_most") if word in check)
    return ", ".join(f"{word.replace('_', ' ')} {check[word]:g}" for word in words)
