"""What a call does to the process that it is made in: nothing that stays.

Variables that Ray and Transformers read are set for the call alone; log handlers, signal handlers and streams of the
caller are theirs.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from xpoll.core.environment import quiet_libraries, settle_home
from xpoll.core.log import end_log
from xpoll.core.progress import quieted

_OURS = (
    *("RAY_", "HF_HUB_", "TRANSFORMERS_", "TOKENIZERS_", "VLLM_"),
    *("REPORTER_UPDATE_", "LOG_NAME_UPDATE_", "AUTOSCALER_UPDATE_", "PYTHONBREAKPOINT"),  # read or set by Ray, too
)
"""What the names of variables begin with that a call may add."""
_LOCK = threading.Lock()
_inside: list[int] = []
_before: dict[str, str] = {}


@contextmanager
def as_library(*, quiet: bool = False) -> Iterator[None]:
    """A call of the API in somebody's process; what the block sets up there is undone after it.

    Args:
        quiet: Whether to show no progress.
    """
    _enter()
    try:
        with quieted(quiet):
            yield
    finally:
        _leave()


def _enter() -> None:
    with _LOCK:
        if not _inside:
            _before.update(os.environ)
        _inside.append(threading.get_ident())
        settle_home()
        quiet_libraries()


def _leave() -> None:
    """The last call to end, of all threads, undoes what the first has begun."""
    with _LOCK:
        _inside.remove(threading.get_ident())
        if _inside:
            return
        end_log()
        for name in set(os.environ) - _before.keys():
            if name.startswith(_OURS):
                os.environ.pop(name, None)
        _before.clear()
