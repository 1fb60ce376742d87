"""Types of suites: flat records of figures, and the order in which arms are measured."""

from collections.abc import Callable, Iterator
from typing import Any

from xpoll.core.progress import say

Record = dict[str, Any]
"""Figures and names of one measurement, flat: units in the keys, `arm` and `repeat` where arms are compared."""

Parameters = dict[str, Any]
"""The [parameters] table of a suite."""

Runner = Callable[[Parameters], Iterator[Record]]
"""Measures a suite; yields each record as soon as it is complete, so that an interrupted run keeps them."""


def alternating(parameters: Parameters, measure: Callable[[str, int], Record]) -> Iterator[Record]:
    """Measures A B, B A, A B, ..., so that drift of the machine affects all arms alike.

    Args:
        parameters: `arms`, a list of names, and `repeats`.
        measure: From arm and repeat (from 0) to the figures of one measurement.

    Yields:
        One record per measurement, with `arm` and `repeat`.
    """
    for repeat in range(parameters["repeats"]):
        for arm in parameters["arms"][:: -1 if repeat % 2 else 1]:
            say(f"repeat {repeat + 1} of {parameters['repeats']}: {arm}")
            yield {"arm": arm, "repeat": repeat, **measure(arm, repeat)}
