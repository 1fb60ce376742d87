"""`xpoll bench compare A B`: compares two documents of a suite, figure by figure, against tolerances.

Reads two documents that `xpoll bench` wrote, or committed ones of benchmarks/baselines/ by name, and
benchmarks/baselines/tolerances.toml. Figures without a tolerance are shown, not judged.
"""

import fnmatch
import tomllib
from pathlib import Path
from typing import Any, Literal, NamedTuple

from xpoll.benchmarks.runner.measurement import Measurement, RefusedError, measurements_of, provenance_of
from xpoll.core.errors import InputError
from xpoll.core.files import read_json

BASELINES = Path(__file__).parents[1] / "baselines"

Change = Literal["same", "better", "worse", "not judged", "gone", "new"]


class Tolerance(NamedTuple):
    """The tolerance of a figure.

    Attributes:
        relative: Largest change without a verdict, as a share of the first value.
        better: The direction of an improvement.
    """

    relative: float
    better: Literal["higher", "lower"]


class Difference(NamedTuple):
    """One figure in both documents; `before` or `after` is None where that document lacks it."""

    what: str
    figure: str
    before: float | None
    after: float | None
    tolerance: Tolerance | None
    verdict: Change

    @property
    def change(self) -> float | None:
        """Relative change, e.g. 0.1 for 10 % more; None where either value is missing."""
        return self.after / self.before - 1 if self.before and self.after is not None else None


class Comparison(NamedTuple):
    """The comparison of two documents.

    Attributes:
        differences: One per figure.
        notes: Differences of machine and parameters, which limit the comparison.
        holds: Whether no figure is worse or gone.
    """

    differences: list[Difference]
    notes: list[str]
    holds: bool


def read_document(name: str) -> dict[str, Any]:
    """A suite's document, by path, or by name for a committed baseline.

    Raises:
        InputError: there is none, or it is no document of a suite.
    """
    path = BASELINES / f"{name}.json" if (BASELINES / f"{name}.json").exists() else Path(name)
    known = ", ".join(sorted(each.stem for each in BASELINES.glob("*.json"))) or "none"
    if not path.exists():
        raise InputError(f"there is no file {name}", mend=f"name a file of runs/bench or a baseline: {known}")
    document = read_json(path)
    if not isinstance(document, dict) or not {"suite", "records", "environment"} <= document.keys():
        raise InputError(f"{path} was not written by xpoll bench", mend=f"name a file of runs/bench or one of: {known}")
    return document


def compare(before: dict[str, Any], after: dict[str, Any]) -> Comparison:
    """Compares two documents, figure by figure.

    Args:
        before: The older document.
        after: The newer document.

    Raises:
        InputError: they are of different suites, or one of them is no measurement.
    """
    if before["suite"] != after["suite"]:
        raise InputError(f"{before['suite']!r} and {after['suite']!r} are different suites")
    try:
        first, second = ({(m.what, m.figure): m for m in measurements_of(each)} for each in (before, after))
    except RefusedError as error:
        raise InputError(str(error), mend="measure again in a checkout of xpoll") from error
    tolerances = read_tolerances().get(before["suite"], {})
    keys = list(dict.fromkeys([*first, *second]))
    differences = [_difference(key, first.get(key), second.get(key), _of(key[1], tolerances)) for key in keys]
    notes = _notes(before, after)
    worse = any(each.verdict in ("worse", "gone") for each in differences)
    return Comparison(differences, notes, not worse)


def read_tolerances() -> dict[str, dict[str, Tolerance]]:
    """Tolerances by suite and by pattern of a figure's name."""
    read = tomllib.loads((BASELINES / "tolerances.toml").read_text(encoding="utf-8"))
    return {suite: {name: Tolerance(**each) for name, each in table.items()} for suite, table in read.items()}


def _of(figure: str, tolerances: dict[str, Tolerance]) -> Tolerance | None:
    return next((each for pattern, each in tolerances.items() if fnmatch.fnmatch(figure, pattern)), None)


def _difference(
    key: tuple[str, str], before: Measurement | None, after: Measurement | None, tolerance: Tolerance | None
) -> Difference:
    first = before.median if before and before.values else None
    second = after.median if after and after.values else None
    return Difference(*key, first, second, tolerance, _verdict(first, second, tolerance))


def _verdict(before: float | None, after: float | None, tolerance: Tolerance | None) -> Change:
    if tolerance is None or before == after is None:
        return "not judged"
    if before is None or after is None:
        return "new" if before is None else "gone"
    moved = after - before if tolerance.better == "higher" else before - after
    if abs(moved) <= tolerance.relative * abs(before):
        return "same"
    return "better" if moved > 0 else "worse"


def _notes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    first, second = provenance_of(before), provenance_of(after)
    notes = [
        f"{name}: {getattr(first, name)} and {getattr(second, name)}"
        for name in ("processor", "cores", "devices")
        if getattr(first, name) != getattr(second, name)
    ]
    changed = sorted(
        key
        for key in {*first.parameters, *second.parameters}
        if first.parameters.get(key) != second.parameters.get(key)
    )
    notes += [f"parameters differ: {', '.join(changed)}"] if changed else []
    return notes + [
        f"{name} was measured with changes on top of its commit"
        for name, each in (("the first", first), ("the second", second))
        if each.dirty
    ]
