"""Prints how two documents of a benchmark suite differ."""

import json

from xpoll.benchmarks.runner.compare import Comparison, compare, read_document
from xpoll.core.errors import ConfigError
from xpoll.core.formatting import number


def compare_documents(names: list[str], *, as_json: bool) -> int:
    """Prints the differences; 1 where a figure is worse than its tolerance allows.

    Raises:
        ConfigError: not two are named.
    """
    if len(names) != 2:
        raise ConfigError(f"compare takes two files, got {len(names)}", mend="xpoll bench compare A.json B.json")
    comparison = compare(*map(read_document, names))
    if as_json:
        rows = [each._asdict() | {"change": each.change} for each in comparison.differences]
        print(json.dumps({"differences": rows, "notes": comparison.notes, "holds": comparison.holds}))
    else:
        _print(comparison)
    return 0 if comparison.holds else 1


def _print(comparison: Comparison) -> None:
    for note in comparison.notes:
        print(f"note: {note}")
    for each in comparison.differences:
        if each.tolerance is None:
            continue
        tolerance = f"{100 * each.tolerance[0]:g} %"
        change = "" if each.change is None else f" ({100 * each.change:+.1f} %, tolerance {tolerance})"
        print(f"{each.verdict:7} {each.what}: {each.figure} {number(each.before)} -> {number(each.after)}{change}")
    judged = [each for each in comparison.differences if each.tolerance is not None]
    worse = sum(each.verdict in ("worse", "gone") for each in judged)
    print(f"{len(judged)} figures judged, {worse} worse; {len(comparison.differences) - len(judged)} not judged")
