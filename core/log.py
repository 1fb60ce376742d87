"""Where this process's log goes."""

import logging
from pathlib import Path

from xpoll.core.secrets import StruckFormatter

LOGGER = logging.getLogger("xpoll")
"""What xpoll itself logs through: the root's functions would set up logging for whoever imports xpoll."""
_FORM = StruckFormatter("%(asctime)s %(levelname)s %(message)s")
_is_own_process = False


def own_process() -> None:
    """Says that this process is xpoll's own, as a command's is: from now on its log is that of all libraries."""
    global _is_own_process
    _is_own_process = True


def log_to(path: Path) -> None:
    """Sends xpoll's log to a file, without secrets; in a process of its own also what all libraries log.

    In a process of somebody else's, e.g. a notebook, nothing but the logger "xpoll" is touched.
    """
    end_log()
    if _is_own_process:
        logging.basicConfig(filename=path, level=logging.INFO, force=True)
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_FORM)
        return
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_FORM)
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def end_log() -> None:
    """Closes the file of the logger "xpoll", if it has one."""
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    LOGGER.setLevel(logging.NOTSET)
    LOGGER.propagate = True
