"""The interpreter of the environment that has Intel's packages."""

import sys
from pathlib import Path


def interpreter(given: str) -> Path:
    """The path of an interpreter; a relative one that is not here counts from beside the environment of this process.

    So it is found in a container, and wherever a checkout's xpoll is called from.

    Args:
        given: As configured, e.g. ".venv-ipex/bin/python".
    """
    path = Path(given)
    beside = Path(sys.prefix).parent / path
    return beside if not path.is_absolute() and not path.exists() and beside.exists() else path
