"""Keeps Python's cycle collector out of the way while records stream by.

Records are made and dropped by the hundred thousand without being part of a cycle; looking for cycles among
them, and in the modules of torch and vLLM each time again, took a fifth of a worker's time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 20, 100)
"""Objects more than before, and collections of each younger generation, until the next one (Python: 700, 10, 10)."""


def collect_seldom() -> None:
    """From now on, in this process: what is there by now is never looked at again, the rest seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """The same within the block."""
    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
