"""Fixtures shared by all tests."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

LONGEST = ("test_end_to_end.py", "test_vllm_server.py", "test_simulations.py", "test_trainer.py", "test_packaging.py")
"""What takes longest is begun first: with two processes the last file would else run with one core idle."""

# The same examples in each run: a failure belongs to the change that it is seen with. `HYPOTHESIS_PROFILE=search` draws
# new ones; what they find becomes an @example.
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("search")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

Xpoll = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts those files in front; all else keeps its order."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture
def xpoll() -> Xpoll:
    """Runs the command line in a process of its own, as a user does."""

    def run(
        *arguments: object, cwd: Path = ROOT, timeout_s: float = 60, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-P", "-m", "xpoll", *map(str, arguments)]
        environment = {**os.environ, **(env or {})}
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, env=environment)

    return run
