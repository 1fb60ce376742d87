"""Where this process's log goes."""

import logging
from pathlib import Path


def log_to(path: Path) -> None:
    """Sends this process's log to a file."""
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(filename=path, level=logging.INFO, format=form, force=True)
