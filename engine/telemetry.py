"""Keeps a Ray of our own from asking and telling anybody outside of this machine.

With its dashboard off, Ray still starts an "API server" whose one module looks which cloud this is, at the metadata
addresses of three clouds (169.254.169.254, metadata.google.internal), also where RAY_USAGE_STATS_ENABLED is 0.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_usage_reports() -> Iterator[None]:
    """In the block, a Ray that is started has no process for usage reports."""
    from ray._private import services

    if not hasattr(services, "start_api_server"):  # another version of Ray
        yield
        return
    start: Any = services.start_api_server
    services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        services.start_api_server = start
