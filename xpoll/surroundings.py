"""What a call does to the process that it is made in: nothing that stays.

Variables that Ray and Transformers read are set for the call alone; log handlers, signal handlers and streams of the
caller are theirs.
"""

import importlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from xpoll.core.log import end_log
from xpoll.core.machine.environment import quiet_libraries, settle_home
from xpoll.core.progress import in_notebook, quieted

_OURS = (
    *("RAY_", "HF_HUB_", "TRANSFORMERS_", "TOKENIZERS_", "VLLM_"),
    *("REPORTER_UPDATE_", "LOG_NAME_UPDATE_", "AUTOSCALER_UPDATE_", "PYTHONBREAKPOINT"),  # read or set by Ray, too
)
"""What the names of variables begin with that a call may add."""
_LOCK = threading.Lock()
_SAYS_NOTHING = logging.Filter("nobody")
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
        if in_notebook():
            _quiet_widgets()


def _quiet_widgets() -> None:
    """tqdm and Ray each say that a notebook without ipywidgets shows plainer bars."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("tqdm.auto")
    logging.getLogger("ray.widgets.util").addFilter(_SAYS_NOTHING)


def _leave() -> None:
    """The last call to end, of all threads, undoes what the first has begun."""
    with _LOCK:
        _inside.remove(threading.get_ident())
        if _inside:
            return
        end_log()
        logging.getLogger("ray.widgets.util").removeFilter(_SAYS_NOTHING)
        for name in set(os.environ) - _before.keys():
            if name.startswith(_OURS):
                os.environ.pop(name, None)
        _before.clear()
