"""Where this process's log goes."""

import logging
from pathlib import Path

from xpoll.core.secrets import StruckFormatter


def log_to(path: Path) -> None:
    """Sends this process's log to a file, without secrets."""
    logging.basicConfig(filename=path, level=logging.INFO, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(StruckFormatter("%(asctime)s %(levelname)s %(message)s"))
