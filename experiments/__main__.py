"""`python -m experiments NAME [--set parameters.KEY=VALUE] [--output FILE]`: runs an experiment as a suite.

An experiment is a folder experiments/NAME with NAME.py, whose `measure(parameters)` yields records, and NAME.toml.
"""

import argparse
import os
from pathlib import Path

from xpoll.benchmarks.runner.suite import Suite, run_suite
from xpoll.scripts.commands.bench import show_suite

FOLDER = Path(__file__).parent


def suite_of(name: str) -> Suite:
    """The experiment of that name as a suite."""
    return Suite(name, FOLDER / name / f"{name}.toml", f"experiments.{name}.{name}")


def main() -> int:
    """Runs one experiment; 1 where a check does not hold."""
    parser = argparse.ArgumentParser(prog="python -m experiments")
    parser.add_argument("name", choices=sorted(path.parent.name for path in FOLDER.glob("*/*.toml")))
    parser.add_argument("--set", action="append", default=[], metavar="parameters.KEY=VALUE")
    parser.add_argument("--output", type=Path)
    parsed = parser.parse_args()
    # Measurements in subprocesses import the experiment, which is part of no package.
    paths = [str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    return show_suite(run_suite(suite_of(parsed.name), overrides=parsed.set, output=parsed.output), as_json=False)


if __name__ == "__main__":
    raise SystemExit(main())
