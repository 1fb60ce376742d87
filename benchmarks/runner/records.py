"""What suites are made of: flat records of figures, and the order in which arms are measured."""

from collections.abc import Callable, Iterator
from typing import Any

from xpoll.core.progress import say

Record = dict[str, Any]
"""Figures and words of one measurement, flat: a unit in each name, `arm` and `repeat` where arms are compared."""

Parameters = dict[str, Any]
"""The [parameters] table of a suite."""

Runner = Callable[[Parameters], Iterator[Record]]
"""Measures a suite; yields each record as soon as it is there, so that a run that is stopped keeps them."""


def alternating(parameters: Parameters, measure: Callable[[str, int], Record]) -> Iterator[Record]:
    """Measures A B, B A, A B ..., so that what changes on the machine meanwhile touches all arms alike.

    Args:
        parameters: `arms`, a list of names, and `repeats`.
        measure: From arm and repeat (from 0) to the figures of one measurement.
    """
    for repeat in range(parameters["repeats"]):
        for arm in parameters["arms"][:: -1 if repeat % 2 else 1]:
            say(f"repeat {repeat + 1} of {parameters['repeats']}: {arm}")
            yield {"arm": arm, "repeat": repeat, **measure(arm, repeat)}
