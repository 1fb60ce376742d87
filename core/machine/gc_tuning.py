"""Makes Python's garbage collector look for reference cycles seldom, while records stream by.

Records are made and dropped by the hundred thousand and form no cycles; looking for some among them, and
each time again in the modules of torch and vLLM, took a fifth of a worker's time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 20, 100)
"""As `gc.set_threshold` takes them: new objects, then collections of the younger generation (Python: 700, 10, 10)."""


def collect_seldom() -> None:
    """Freezes the objects that exist now, which are never examined again, and collects new ones seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Does the same for the block, and restores the thresholds after it."""
    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
